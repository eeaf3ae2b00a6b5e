"""A client whose broker dies and comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eldermesh.client import Client
from shared.kafka.topic_admin import apply_topics
from tests.contract_records import result
from tests.fresh_topics import fresh_settings
from tests.kafka_server import KafkaServer, kafka_missing
from tests.played_router import played_router


@pytest.mark.kafka
@pytest.mark.slow
async def test_waiting_outlives_the_broker(tmp_path: Path) -> None:
    """Kafka is killed while a client waits for an end and reads results, and started again: both go on."""
    missing = kafka_missing()
    if missing is not None:
        pytest.skip(missing)
    kafka = KafkaServer(tmp_path)
    await kafka.start()
    try:
        settings = fresh_settings(kafka.bootstrap, "kafka")
        assert not (await apply_topics(settings)).refused
        async with Client(kafka.bootstrap, settings.topic_prefix) as client:
            job = await client.submit(workload="python", items=[1, 2])
            async with played_router(settings) as router:
                await router.progress(job.job_id, 1, result(0))
            progress = client.progress(job.job_id, timeout_seconds=90)
            assert (await anext(progress)).sequence == 1
            waiting = asyncio.create_task(client.wait(job.job_id, 90))

            kafka.kill()
            await kafka.start()

            async with played_router(settings) as router:
                await router.progress(job.job_id, 2, result(1), items_ended=2)
                await router.end(job.job_id, succeeded=2, records=2)
            assert [each.sequence async for each in progress] == [2]
            assert (await waiting).items_succeeded == 2
            again = await client.submit(workload="python", items=[3])
            assert again.job_id != job.job_id
    finally:
        kafka.kill()
