"""What the runner of requests works with, and what it is given to run."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.blobs.store import BlobStore
from shared.history.chunk_id import ChunkId
from shared.history.clock import Clock, SystemClock
from shared.history.fact_appender import FactSink
from shared.history.runs.claims import ClaimStore
from shared.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRunnerParts:
    """The parts of a runner.

    Attributes:
        settings: lease, heartbeat, and what CLIs may take.
        worker_id: who runs, without spaces: in claims and facts.
        claims: of `claude.history`.
        facts: appends records to any topic.
        blobs: where large results go.
        clock: wall time of what is published, monotonic time of the lease.
        patience_seconds: how long a run that holds its claim asks Kafka or the blob store again.
    """

    settings: Settings
    worker_id: str
    claims: ClaimStore
    facts: FactSink
    blobs: BlobStore
    clock: Clock = field(default_factory=SystemClock)
    patience_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class RequestTask:
    """A request to run; `topic` is the history's full name, `dispatched_at` milliseconds since 1970."""

    topic: str
    partition: int
    chunk: ChunkId
    dispatched_at: int
    traceparent: str | None
    tracestate: str | None

    @property
    def request_id(self) -> str:
        """Whose prompt it is."""
        return self.chunk.job_id
