"""Records that wait in a producer and will not be sent: those who sent them are told, and nobody else is alarmed."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from eldermesh.kafka.whole_producer import WholeProducer


@pytest.mark.parametrize("way", ["drop", "break off"])
async def test_a_failure_that_was_seen_is_not_told_again(way: str) -> None:
    """The event loop has nothing to say of an exception that was never retrieved."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    producer = WholeProducer(bootstrap_servers="127.0.0.1:9")
    accumulator = producer._message_accumulator  # noqa: SLF001 - `send` would ask a broker for the topic first
    waiting = await accumulator.add_message(TopicPartition("topic", 0), None, b"x", 1.0)
    if way == "drop":
        producer.drop("topic", 0)
    await producer.break_off()
    with pytest.raises(KafkaConnectionError):
        await waiting
    del waiting
    gc.collect()
    assert told == []
