"""Dead letters that are larger than their topic takes, on the broker that has a limit."""

from __future__ import annotations

import hashlib

import pytest

from eldermesh.contract.deadletters import DeadLetterHeaders
from shared.consumer.dead_letter import TRUNCATED_VALUE_BYTES
from shared.kafka.topics import JOBS, JOBS_DEAD
from tests.fresh_topics import fresh_topics
from tests.inboxes import Sent, publish
from tests.integration.consumer.consuming import (
    Collector,
    at_least,
    consuming,
    numbered,
)
from tests.waiting import wait_until


@pytest.mark.kafka
async def test_a_dead_letter_that_is_too_large_is_truncated(apache_kafka: str) -> None:
    """Kafka refuses it for its size: hash, coordinates, reason and trace context stay, and so does the beginning."""
    async with fresh_topics(apache_kafka, "kafka") as settings:
        value = b"bad" + b"x" * 400_000
        key = b"k" * 600_000
        headers = (("big", b"h" * 20_000), ("traceparent", b"00-1-2-3"))
        await publish(settings, JOBS, [Sent(value, key=key, headers=headers, partition=1), *numbered(0, 3)])
        collector = Collector()
        async with consuming(settings, collector):
            (dead,) = await wait_until(
                lambda: at_least(settings, JOBS_DEAD, 1), description="the record is a dead letter"
            )
            await wait_until(lambda: len(collector.handled) >= 3, description="the others are handled")
        assert dead.value == value[:TRUNCATED_VALUE_BYTES]
        assert dead.header("dlq_truncated_bytes") == str(len(value))
        assert len(dead.header("dlq_sha256") or "") == 64
        assert dead.header("traceparent") == "00-1-2-3"
        assert dead.header("big") is None
        assert dead.key == key[:1024]
        assert DeadLetterHeaders.decode(dead.headers).partition == 1


@pytest.mark.kafka
@pytest.mark.parametrize("letter_bytes", [1_306_000, 1_312_000, 1_350_000, 1_398_000])
async def test_what_follows_a_dead_letter_of_any_size_is_published(apache_kafka: str, letter_bytes: int) -> None:
    """Whole as long as `jobs.dead` takes it, else truncated; the next letter of the same partition goes through.

    A record that the broker, not the client, refuses for its size breaks the sequence of an idempotent producer.
    """
    async with fresh_topics(apache_kafka, "kafka") as settings:
        key = b"k" * 375_000  # it is in a letter twice
        large = b"bad" + b"x" * (letter_bytes - 2 * len(key) - 3)
        bad = [Sent(value, key=key, partition=1) for value in (b"bad before", large, b"bad next")]
        await publish(settings, JOBS, bad)
        async with consuming(settings, Collector()):
            letters = await wait_until(
                lambda: at_least(settings, JOBS_DEAD, 3), description="all records are dead letters"
            )
    _, first, second = sorted(letters, key=lambda letter: DeadLetterHeaders.decode(letter.headers).offset)
    assert second.value == b"bad next"
    if letter_bytes < 1_310_000:
        assert first.value == large
    else:
        assert first.value == large[:TRUNCATED_VALUE_BYTES]
        assert first.header("dlq_sha256") == hashlib.sha256(large).hexdigest()
