"""What the users of Kafka catch: errors named after the decision that follows, in place of aiokafka's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka.errors import (  # noqa: TID251 - the layer translates them
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
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


class KafkaRefusedError(KafkaUnavailableError):
    """Kafka answers and refuses this client: correct its login, or Kafka's ACLs; trying again does not help.

    Args:
        cause: aiokafka's own error.
        reason: one sentence that says what to correct, without secrets.
    """

    def __init__(self, cause: Exception, reason: str) -> None:
        super().__init__(cause)
        self.args = (reason,)


_GUARDED = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "consumer group",
    ClusterAuthorizationFailedError: "cluster",
}
"""What ACLs guard, by aiokafka's error when none allows what was asked."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise aiokafka's errors as errors of this module.

    Raises:
        OffsetOutsideLogError: aiokafka said that an offset is out of range.
        KafkaRefusedError: it said that no ACL allows this.
        KafkaUnavailableError: it raised anything else.
    """
    try:
        yield
    except OffsetOutOfRangeError as error:
        raise OffsetOutsideLogError(error) from error
    except tuple(_GUARDED) as error:
        names = " ".join(map(str, error.args))
        raise KafkaRefusedError(
            error, f"no ACL lets this user do that with the {_GUARDED[type(error)]} {names}"
        ) from error
    except KafkaError as error:
        raise KafkaUnavailableError(error) from error


def is_kafka_error(error: BaseException) -> bool:
    """Whether it is one of this module or of aiokafka, which name hosts, topics and offsets and quote no record."""
    return isinstance(error, (KafkaUnavailableError, KafkaError))


def no_broker(bootstrap: str, error: BaseException) -> str:
    """`no broker answers at 127.0.0.1:9092`, for people; what aiokafka says is added if it says more than that.

    Of a broker that refuses the client: why.
    """
    if isinstance(error, KafkaRefusedError):
        return str(error)
    where = f"no broker answers at {bootstrap}"
    says_no_more = isinstance(error, KafkaUnavailableError) and isinstance(error.cause, KafkaConnectionError)
    return where if says_no_more else f"{where}: {error!r}"
