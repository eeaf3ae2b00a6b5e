"""What a chunk runner works with; tests and engines give their own."""

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
        settings: for leases, flushing and time-outs; workloads see them, too.
        engine: the engine of the runner.
        worker_id: appears in claims and results; has no spaces.
        claims: the claim store of a history topic, by its full name.
        facts: where results go.
        workloads: the code that runs items.
        blobs: where large outputs go.
        clock: for published times and for the lease.
        patience_seconds: how long a run tries Kafka or the blob store again. Long: a run that stops earlier only counts
            as a death of the chunk.
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
