"""Who uses Kafka sees the errors of the layer, never aiokafka's; they read as what aiokafka said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaConnectionError, KafkaTimeoutError, OffsetOutOfRangeError

from eldermesh.kafka.admin import WholeAdminClient
from eldermesh.kafka.consumer import WholeConsumer
from eldermesh.kafka.errors import KafkaUnavailableError, OffsetOutsideLogError, translate_errors
from eldermesh.kafka.replacing_producer import ReplacingProducer
from eldermesh.kafka.whole_producer import WholeProducer
from shared.consumer.client import InboxClient
from shared.logs.exceptions import told

NOBODY = "127.0.0.1:9"


def test_it_reads_as_what_aiokafka_said() -> None:
    """In messages and in logs."""
    cause = KafkaTimeoutError("not acknowledged within 15 s")
    error = KafkaUnavailableError(cause)
    assert error.cause is cause
    assert f"{error!r}" == str(error) == repr(cause)
    assert told(error) == "KafkaUnavailableError: KafkaTimeoutError('not acknowledged within 15 s')"


def test_an_offset_outside_the_log_is_told_apart() -> None:
    """Its reader asks where the log begins and ends, and does not wait."""
    with pytest.raises(OffsetOutsideLogError), translate_errors():
        raise OffsetOutOfRangeError({TopicPartition("topic", 0): 7})


def test_other_errors_pass() -> None:
    """Only aiokafka's are translated."""
    with pytest.raises(OSError, match="disk"), translate_errors():
        raise OSError("disk")


@pytest.mark.parametrize(
    "make",
    [
        lambda: WholeConsumer(bootstrap_servers=NOBODY),
        lambda: WholeProducer(bootstrap_servers=NOBODY),
        lambda: WholeAdminClient(bootstrap_servers=NOBODY),
        lambda: ReplacingProducer(lambda: WholeProducer(bootstrap_servers=NOBODY), acknowledge_seconds=15.0),
    ],
    ids=["consumer", "producer", "admin", "replacing producer"],
)
async def test_a_broker_that_is_not_there(make: Callable[[], Any]) -> None:
    """Every client of the layer says so in the same way."""
    with pytest.raises(KafkaUnavailableError) as raised:
        await make().start()
    assert isinstance(raised.value.cause, KafkaConnectionError)


async def test_a_partition_that_is_not_read() -> None:
    """A call that asks no broker is translated, too."""
    consumer = WholeConsumer(bootstrap_servers=NOBODY)
    with pytest.raises(KafkaUnavailableError):
        await consumer.start()
    with pytest.raises(KafkaUnavailableError) as raised:
        await consumer.seek_to_beginning(TopicPartition("topic", 0))
    assert isinstance(raised.value.cause, IllegalStateError)


async def test_faststream_gets_what_it_expects() -> None:
    """It tries again after aiokafka's errors alone."""
    client = InboxClient(bootstrap_servers=NOBODY, fetch_max_wait_ms=10, idle_wait_ms=100)
    with pytest.raises(KafkaConnectionError):
        await client.start()
