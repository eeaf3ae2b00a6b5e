"""What the runner of notifications works with, and what it is given to send."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from services.notifier.channels.sender import SEND_SECONDS, Sender
from shared.facts.notifications import NotificationPlanned
from shared.history.chunk_id import ChunkId
from shared.history.clock import Clock, SystemClock
from shared.history.fact_appender import FactSink
from shared.history.runs.claims import ClaimStore
from shared.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRunnerParts:
    """The parts of a runner.

    Attributes:
        settings: lease, heartbeat, back-off.
        worker_id: who sends, without spaces: in claims and facts.
        claims: of `notifications`.
        facts: appends records to any topic.
        senders: by the channel's name.
        clock: wall time of what is appended, monotonic time of the lease.
        chance: of the back-off's jitter, 0 to 1.
        patience_seconds: how long a run that holds its claim asks Kafka again.
    """

    settings: Settings
    worker_id: str
    claims: ClaimStore
    facts: FactSink
    senders: Mapping[str, Sender]
    clock: Clock = field(default_factory=SystemClock)
    chance: Callable[[], float] = random.random
    patience_seconds: float = 600.0


def claim_timeout_of(settings: Settings) -> float:
    """After how many seconds without a claim an owner sends a notification again to its runner.

    A slot may be taken for as long as sends last, and nothing is wrong.
    """
    return max(settings.claim_timeout_seconds, 2 * SEND_SECONDS)


@dataclass(frozen=True, slots=True)
class SendTask:
    """A notification to send; `topic` is the history's full name, `attempt` counts sends from 1."""

    topic: str
    partition: int
    chunk: ChunkId
    attempt: int
    planned: NotificationPlanned

    @property
    def notification_id(self) -> str:
        """Which one."""
        return self.chunk.job_id
