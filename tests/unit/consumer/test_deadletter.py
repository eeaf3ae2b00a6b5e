"""Dead letters that a broker refuses for their size; on real brokers they are tested with the consumer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.consumer.dead_letter import TRUNCATED_VALUE_BYTES, DeadLetterPublisher
from shared.errors import DeadLetterError, RecordTooLargeError
from shared.settings import Settings
from tests.unit.consumer.records import consumed

JOB_ID = "0190c0de-0000-7000-8000-000000000001"


@dataclass(frozen=True)
class Published:
    """What a producer was given."""

    topic: str
    value: bytes
    key: bytes | None
    partition: int
    headers: dict[str, bytes]


class SmallBroker:
    """A producer in front of a broker that takes records up to a size."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.published: list[Published] = []

    async def send_and_wait(
        self, topic: str, value: bytes, *, key: bytes | None, partition: int, headers: Iterable[tuple[str, bytes]]
    ) -> Any:
        """As `Producer`'s."""
        listed = list(headers)
        size = len(value) + len(key or b"") + sum(len(name) + len(each) for name, each in listed)
        if size > self.max_bytes:
            raise RecordTooLargeError
        self.published.append(Published(topic, value, key, partition, dict(listed)))
        return SimpleNamespace(offset=len(self.published) - 1)


def _publisher(broker: SmallBroker) -> DeadLetterPublisher:
    settings = Settings(topic_prefix="here.", partitions=4, _env_file=None)
    return DeadLetterPublisher(cast("Any", broker), settings)


async def test_one_that_is_too_large_keeps_its_beginning_hash_and_coordinates() -> None:
    """So do reason, trace context and CloudEvents headers; large headers and the rest of the key go."""
    broker = SmallBroker(128 * 1024)
    value = b"v" * 200_000
    small = tuple((f"h{number}", b"x" * 900) for number in range(40))
    headers = (*small, ("large", b"x" * 5000), ("traceparent", b"00-1-2-3"), ("ce_source", b"/ci"))
    record = consumed(value, offset=7, key=b"k" * 100_000, headers=headers)

    await _publisher(broker).publish(record, DeadLetterError("too_large", "too large"))

    (letter,) = broker.published
    assert letter.topic == "here.jobs.dead"
    assert letter.value == value[:TRUNCATED_VALUE_BYTES]
    assert letter.key == letter.headers["dlq_key"] == b"k" * 1024
    assert letter.headers["dlq_truncated_bytes"] == b"200000"
    assert letter.headers["dlq_sha256"] == hashlib.sha256(value).hexdigest().encode()
    assert (letter.headers["dlq_topic"], letter.headers["dlq_offset"]) == (b"here.jobs", b"7")
    assert (letter.headers["traceparent"], letter.headers["ce_source"]) == (b"00-1-2-3", b"/ci")
    assert "large" not in letter.headers
    assert 0 < sum(name in letter.headers for name, _ in small) < 40


async def test_a_known_job_id_stays_the_key() -> None:
    """Truncated or not."""
    broker = SmallBroker(100_000)
    await _publisher(broker).publish(consumed(b"v" * 200_000), DeadLetterError("too_large", "", job_id=JOB_ID))
    assert broker.published[0].key == JOB_ID.encode()


@pytest.mark.parametrize("partition", [0, 3, 5])
async def test_without_a_key_the_source_partition_decides(partition: int) -> None:
    """Modulo the number of partitions; a record without a value has a letter without bytes."""
    broker = SmallBroker(100_000)
    await _publisher(broker).publish(consumed(None, partition=partition), DeadLetterError("undecodable", ""))
    assert (broker.published[0].partition, broker.published[0].key, broker.published[0].value) == (
        partition % 4,
        None,
        b"",
    )
