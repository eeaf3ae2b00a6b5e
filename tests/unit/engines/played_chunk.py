"""A chunk of three items, and a runner for it over played claims and a played history."""

from __future__ import annotations

from typing import Any, Protocol, cast

import orjson

from services.router.engines.chunks.runner import ChunkRunner
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.task import ChunkTask
from shared.blobs.store import BlobStore
from shared.facts.jobs import ItemsCompleted
from shared.history.runs.claims import ClaimStore
from shared.settings import Settings
from shared.workloads import Workload, WorkloadRegistry
from tests.unit.runs import MovedClock, PlayedClaims

LEASE_SECONDS = 10.0
TASK = ChunkTask(
    topic="t.jobs.history",
    partition=0,
    chunk="4f970e3e-d1a3-5d45-8587-591465c16100/0/1/0-2",
    dispatched_at=1000,
    attempt=1,
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
SPEC = orjson.dumps({"workload": "played", "items": [1, 2, 3], "tenant": "default", "content_hash": "abc"})


class TimedWorkload(Workload, Protocol):
    """A workload that knows the clock of its runner."""

    @property
    def clock(self) -> MovedClock:
        """It moves it."""


def runner(claims: PlayedClaims, workload: TimedWorkload, *, patience_seconds: float = 600.0) -> ChunkRunner:
    """A runner whose heartbeat comes each hundredth of a real second."""
    claims.spec_json = SPEC
    settings = Settings(
        lease_seconds=LEASE_SECONDS, heartbeat_seconds=0.01, flush_items=2, flush_seconds=60.0, _env_file=None
    )
    return ChunkRunner(
        ChunkRunnerParts(
            settings=settings,
            engine="celery",
            worker_id="w",
            claims=lambda _: cast("ClaimStore", claims),
            facts=claims,
            workloads=WorkloadRegistry({"played": lambda: workload}),
            blobs=cast("BlobStore", None),  # outputs are small: it is never asked
            clock=workload.clock,
            patience_seconds=patience_seconds,
        )
    )


def results_of(claims: PlayedClaims) -> list[dict[str, Any]]:
    """The results in the history."""
    facts = [fact for fact in claims.facts if "results" in orjson.loads(fact)]
    completed = [ItemsCompleted.model_validate_json(fact) for fact in facts]
    return [result.model_dump() for fact in completed for result in fact.results]
