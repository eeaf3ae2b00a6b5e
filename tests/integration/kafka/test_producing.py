"""The note in Redis that says to health checks that records are not acknowledged."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, cast

import pytest
from pydantic import SecretStr

from shared.errors import RetryableError
from shared.health.producer_report import ProducingReport, producing_trouble
from shared.kafka.clients import make_producer
from shared.redis_client import make_redis
from tests.fresh_topics import fresh_settings
from tests.waiting import wait_until


class TroubledProducer:
    """All of a producer that the report looks at."""

    trouble: str | None = None


async def test_it_is_told_while_it_lasts(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the service that has it, and of no other; with the trouble the note goes."""
    monkeypatch.setattr("shared.health.producer_report.TELL_SECONDS", 0.05)
    settings = fresh_settings("127.0.0.1:9", "kafka", redis_url=SecretStr(redis_server))
    producer = TroubledProducer()
    async with aclosing(make_redis(settings)) as redis:
        report = ProducingReport(redis, settings, "router", cast("Any", producer))
        await report.start()
        try:
            assert await producing_trouble(settings, "router") is None
            producer.trouble = "Kafka has acknowledged no record for 12 s"

            async def told() -> bool:
                return await producing_trouble(settings, "router") == producer.trouble

            await wait_until(told, description="it is told")
            assert await producing_trouble(settings, "notifier") is None
            producer.trouble = None
            await wait_until(told, description="it is told no more")
        finally:
            await report.stop()


async def test_a_note_does_not_outlive_its_process_for_long(redis_server: str) -> None:
    """Whoever is killed cannot take it back: it ends by itself."""
    settings = fresh_settings("127.0.0.1:9", "kafka", redis_url=SecretStr(redis_server))
    producer = TroubledProducer()
    producer.trouble = "Kafka has acknowledged no record for 12 s"
    async with aclosing(make_redis(settings)) as redis:
        report = ProducingReport(redis, settings, "router", cast("Any", producer))
        await report.start()
        try:
            key = f"producing:{settings.topic('router')}"
            await wait_until(lambda: redis.exists(key), description="it is told")
            assert 0 < await redis.ttl(key) <= 30
        finally:
            await report.stop()


async def test_a_failure_that_nobody_repeats_is_no_trouble_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who failed last may have nothing more to send: its record may have been written all the same."""
    monkeypatch.setattr("shared.kafka.service_producer.TROUBLE_SECONDS", 0.0)
    producer = make_producer(fresh_settings("127.0.0.1:9", "kafka"))
    with pytest.raises(RetryableError):
        await producer.start()
    assert producer.trouble is not None
    monkeypatch.setattr("eldermesh.kafka.failures.OLD_SECONDS", 0.1)
    await wait_until(lambda: producer.trouble is None, description="the failure is an old one")
    await producer.stop()


async def test_without_redis_nothing_is_known() -> None:
    """The sages, who need no Redis, are not unready for its sake."""
    settings = fresh_settings("127.0.0.1:9", "kafka", redis_url=SecretStr("redis://127.0.0.1:9/0"))
    assert await producing_trouble(settings, "sages") is None
