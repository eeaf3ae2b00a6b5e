"""What the users of Kafka catch: errors named after the decision that follows, in place of aiokafka's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka.errors import (  # noqa: TID251 - the layer translates them
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
)


class KafkaUnavailableError(Exception):
    """Kafka did not answer, or refused for now: try again later. Of a record that was sent, nothing is known.

    It reads as what aiokafka said.

    Args:
        cause: aiokafka's own error.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause

    def __repr__(self) -> str:
        return str(self)


class OffsetOutsideLogError(KafkaUnavailableError):
    """The log has no such offset: it was thrown away, or retention has passed it. Ask where it begins and ends."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise aiokafka's errors as errors of this module.

    Raises:
        OffsetOutsideLogError: aiokafka said that an offset is out of range.
        KafkaUnavailableError: it raised anything else.
    """
    try:
        yield
    except OffsetOutOfRangeError as error:
        raise OffsetOutsideLogError(error) from error
    except KafkaError as error:
        raise KafkaUnavailableError(error) from error


def is_kafka_error(error: BaseException) -> bool:
    """Whether it is one of this module or of aiokafka, which name hosts, topics and offsets and quote no record."""
    return isinstance(error, (KafkaUnavailableError, KafkaError))


def no_broker(bootstrap: str, error: BaseException) -> str:
    """`no broker answers at 127.0.0.1:9092`, for people; what aiokafka says is added if it says more than that."""
    where = f"no broker answers at {bootstrap}"
    says_no_more = isinstance(error, KafkaUnavailableError) and isinstance(error.cause, KafkaConnectionError)
    return where if says_no_more else f"{where}: {error!r}"
