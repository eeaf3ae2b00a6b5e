"""Appending facts while the broker comes, goes and comes back."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from eldermesh_cli.stack.servers.broker import EmbeddedBroker
from shared.backoff.patience import with_patience
from shared.errors import RetryableError
from shared.history.clock import SystemClock
from shared.history.fact_appender import FactAppender
from shared.kafka.clients import make_producer
from shared.kafka.topic_admin import apply_topics
from shared.kafka.topics import JOBS_HISTORY
from tests.fresh_topics import fresh_settings


async def test_an_appender_outlives_its_broker(tmp_path: Path) -> None:
    """Nobody there, then a broker, then a dead one, then another at its address: with patience, it goes on."""
    broker = EmbeddedBroker(tmp_path / "first")
    settings = fresh_settings(broker.bootstrap, "embedded")
    topic = settings.topic(JOBS_HISTORY)
    producer = make_producer(settings, acknowledge_seconds=2.0)
    facts = FactAppender(producer)

    async def append() -> None:
        await facts.append(topic, 0, key=str(uuid4()), value=b"{}", headers=[("ce_type", b"x")])

    try:
        with pytest.raises(RetryableError, match="did not acknowledge"):
            await append()
        await broker.start()
        await apply_topics(settings)
        await append()
        broker.service.kill()
        with pytest.raises(RetryableError):
            await append()
        broker = EmbeddedBroker(tmp_path / "second", port=int(broker.bootstrap.rpartition(":")[2]))
        await broker.start()
        await apply_topics(settings)
        await with_patience(append, seconds=30.0, clock=SystemClock())
    finally:
        await producer.stop()
        broker.service.kill()
