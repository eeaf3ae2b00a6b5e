"""What runners need to know of a job, read from Redis once for many chunks."""

from __future__ import annotations

from collections import OrderedDict

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.router.jobs.advice import read_annex
from shared.events import AdviceEntry
from shared.history.claims import ClaimStore

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


class JobSpecs:
    """The specifications that were used last; a job's never changes, and the annex not once a chunk is planned."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, JobSpec] = OrderedDict()

    async def get(self, claims: ClaimStore, partition: int, job_id: str) -> JobSpec | None:
        """A job's specification; None when the job is not known or has ended.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        spec = self._kept.get(job_id)
        if spec is None:
            raw = await claims.spec(partition, job_id)
            if raw is None:
                return None
            annex = await claims.annex(partition, job_id)
            spec = JobSpec.model_validate_json(raw).model_copy(update={"advice": read_annex(annex)})
            self._kept[job_id] = spec
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(job_id)
        return spec
