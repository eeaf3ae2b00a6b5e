"""What people are told of a broker that cannot be reached."""

from __future__ import annotations

from aiokafka.errors import KafkaConnectionError  # noqa: TID251 - the layer translates them

from eldermesh.kafka.errors import KafkaUnavailableError


def no_broker(bootstrap: str, error: BaseException) -> str:
    """`no broker answers at 127.0.0.1:9092`, with what aiokafka says only if it says more than that."""
    where = f"no broker answers at {bootstrap}"
    says_no_more = isinstance(error, KafkaUnavailableError) and isinstance(error.cause, KafkaConnectionError)
    return where if says_no_more else f"{where}: {error!r}"
