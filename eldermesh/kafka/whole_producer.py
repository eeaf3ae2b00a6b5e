"""One producer of aiokafka, made safe to start, stop and break off."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError  # noqa: TID251 - the layer translates them

from eldermesh.kafka.errors import translate_errors
from eldermesh.kafka.lifecycle import break_off, see_drain, start_whole, stop_whole
from eldermesh.shield import to_its_end


class WholeProducer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's producer; `start` and `stop` leave nothing behind. Once it has failed it may go on failing for ever.

    What `send` returns holds aiokafka's own errors: it is for `ReplacingProducer` alone.
    """

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaRefusedError: a broker refuses this client; it is closed.
            KafkaUnavailableError: not connected; the producer is closed.
        """
        with translate_errors():
            await start_whole(self, super().start)

    async def stop(self) -> None:
        """Send what waits, and disconnect. What Kafka has not taken within `STOP_SECONDS` is given up."""
        await stop_whole(self, super().stop)

    async def send_and_wait(self, topic: str, value: bytes | None = None, **options: Any) -> Any:
        """Send a record; return aiokafka's metadata of it. `options` are those of aiokafka's `send`.

        Raises:
            KafkaUnavailableError: not acknowledged; whether it was written is unknown.
        """
        with translate_errors():
            return await super().send_and_wait(topic, value, **options)

    async def break_off(self) -> None:
        """Disconnect at once: whoever waits for an acknowledgement sees a failure, and nothing more is sent."""
        await to_its_end(break_off(self))

    def drop(self, topic: str, partition: int) -> None:
        """Fail what waits to be sent to a partition: it must not overtake what failed before it."""
        waiting = self._message_accumulator._batches.pop(TopicPartition(topic, partition), ())  # noqa: SLF001 - there is no public way
        for batch in waiting:
            batch.failure(KafkaConnectionError(f"not sent: a record before it in {topic}/{partition} failed"))
            see_drain(batch)
