"""What a service does with the records of a topic: decode one, handle one, and say by an exception what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from shared.consumer.brake import Brake
from shared.consumer.read_ahead import PassesOver, Ranking
from shared.consumer.record import ConsumedRecord

DecodedT = TypeVar("DecodedT")


class RecordHandler(Protocol[DecodedT]):
    """Decodes and handles the records of one subscription. The class of an exception tells what follows.

    `DeadLetterError`: the record goes to the dead-letter topic. `RetryableError`: it is tried again with back-off and,
    if that does not help within the batch's time, the batch is rewound. Anything else is a failure of our own: after a
    few more attempts the record is a dead letter `internal`. If many others fail alike, the consumer stops.

    Every record is handled at least once: what is done for it has to bear repetition.
    """

    def decode(self, record: ConsumedRecord) -> DecodedT | None:
        """Read and judge the record: pure, and called before its span starts, because its trace may depend on it.

        None if there is nothing to do for it: then it is skipped, without a span or a count. What has a `job_id` says
        of which job (or request) the record speaks: its dead letter is then found by that.

        It is called on the event loop for small records, on a thread for large ones, and has to end soon for any bytes.

        Raises:
            DeadLetterError: the record can never be handled.
        """

    def root_trace_id(self, decoded: DecodedT) -> str | None:
        """Trace id (32 hex digits) for a record that came without a trace context; None for a random one."""

    async def handle(self, record: ConsumedRecord, decoded: DecodedT) -> None:
        """Do the record's work, inside its span. Whatever is published has to be acknowledged before this returns.

        Raises:
            DeadLetterError: the record can never be handled.
            RetryableError: a dependency did not answer.
        """


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who reads what. `topic` and `group` are names without the environment's prefix.

    Records of one key and partition are handled one after the other; records without a key know no order.
    """

    topic: str
    group: str
    handler: RecordHandler[Any]
    passes_over: PassesOver | None = None
    """Whether a record is not for the handler: then it is skipped, without a span or a count."""
    payload: Any = Any
    """The type of its records, for the AsyncAPI document of the service; what is valid the handler decides."""
    ranking: Ranking | None = None
    """If given, what waits is handled by rank, not in the order of the inbox."""
    is_paced: bool = False
    """Whether a backlog of what is handled by rank leaves half of the time to what came out of it (`BacklogPace`)."""
    brake: Brake | None = None
    """Shared by subscriptions whose records the same code handles: a good record of one shows that it works."""
