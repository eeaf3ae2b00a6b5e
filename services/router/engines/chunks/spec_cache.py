"""Job specifications for runners, read from Redis once for many chunks."""

from __future__ import annotations

from collections import OrderedDict

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.router.jobs.advice import read_annex
from shared.facts.jobs import AdviceEntry
from shared.history.runs.claims import AnnexedSpec, Claimed, ClaimStore

_KEPT = 8


class JobSpec(BaseModel):
    """A job's specification; its items and options are as they were submitted."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    workload: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    items: tuple[JsonValue, ...] | None = None
    item_timeout_ms: int | None = None
    tenant: str
    labels: dict[str, str] = Field(default_factory=dict)
    stream: bool = False
    advice: tuple[AdviceEntry, ...] = ()
    content_hash: str | None = None
    """None: written by an earlier release."""


class JobSpecs:
    """A cache of the specifications used last. They do not change, nor does the annex once a chunk is planned.

    A later job may have the same id, so the key includes the job's mark, which the claim on a chunk returns.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], JobSpec] = OrderedDict()

    async def get(self, claims: ClaimStore, partition: int, job_id: str, claimed: Claimed) -> JobSpec | None:
        """The specification of a job of which a chunk is claimed; None when it has ended meanwhile.

        Not cached when the mark is the job's id, as routers of an earlier release write it.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        key = job_id, claimed.mark
        spec = self._kept.get(key)
        if spec is None:
            found = claimed.spec or await claims.annexed_spec(partition, job_id)
            if found is None:
                return None
            spec = _parsed(found)
            if claimed.mark == job_id:
                return spec
            self._kept[key] = spec
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return spec


def _parsed(found: AnnexedSpec) -> JobSpec:
    return JobSpec.model_validate_json(found.spec).model_copy(update={"advice": read_annex(found.annex)})
