"""What a chunk runner works with: all that tests, or another engine, put in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from eldermesh.contract.vocabulary import Engine
from shared.blobs.store import BlobStore
from shared.history.clock import Clock, SystemClock
from shared.history.fact_appender import FactSink
from shared.history.runs.claims import ClaimStore
from shared.settings import Settings
from shared.workloads import WorkloadRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRunnerParts:
    """The parts of a chunk runner.

    Attributes:
        settings: lease, heartbeat, flush and time-out settings; workloads see them, too.
        engine: which engine the runner is part of.
        worker_id: who runs, without spaces: in claims and on results.
        claims: the claim store of a history topic, by its full name.
        facts: where results go.
        workloads: the code that runs items.
        blobs: where large outputs go.
        clock: wall time of what is published, monotonic time of the lease.
        patience_seconds: how long a run that holds its claim asks Kafka or the blob store again. It is long, because
            giving up earlier would only count a death of the chunk.
    """

    settings: Settings
    engine: Engine
    worker_id: str
    claims: Callable[[str], ClaimStore]
    facts: FactSink
    workloads: WorkloadRegistry
    blobs: BlobStore
    clock: Clock = field(default_factory=SystemClock)
    patience_seconds: float = 600.0
