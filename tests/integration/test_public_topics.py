"""The check that integration tests end with, against a real broker."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from eldermesh.client import Client
from shared.settings import Settings
from tests.contract_records import result
from tests.fresh_topics import fresh_topics
from tests.played_router import PlayedRouter, played_router
from tests.public_topics import assert_invariants


@pytest.fixture
async def settings(embedded_broker: str) -> AsyncIterator[Settings]:
    """Topics of their own."""
    async with fresh_topics(embedded_broker, "embedded") as settings:
        yield settings


@pytest.fixture
async def router(settings: Settings) -> AsyncIterator[PlayedRouter]:
    """Who answers the client."""
    async with played_router(settings) as router:
        yield router


async def test_waits_for_what_is_missing(settings: Settings, router: PlayedRouter) -> None:
    """The last record comes while the check already runs: it waits, and passes."""
    async with Client(settings.kafka_bootstrap, settings.topic_prefix) as client:
        job = await client.submit(workload="python", items=[1])
    await router.end(job.job_id, succeeded=1, records=1)
    checking = asyncio.create_task(
        assert_invariants(settings.kafka_bootstrap, settings.topic_prefix, expect_jobs=[job.job_id])
    )
    await router.progress(job.job_id, 1, result(0))
    assert len(await checking) == 3


async def test_names_the_breach(settings: Settings, router: PlayedRouter) -> None:
    """A result that is there twice fails at once, with the number of the invariant and the job."""
    async with Client(settings.kafka_bootstrap, settings.topic_prefix) as client:
        job = await client.submit(workload="python", items=[1])
    await router.progress(job.job_id, 1, result(0), result(0))
    await router.end(job.job_id, succeeded=1, records=1)
    with pytest.raises(AssertionError, match=re.escape(f"Breach(invariant=4, job_id='{job.job_id}'")):
        await assert_invariants(settings.kafka_bootstrap, settings.topic_prefix)


async def test_counts_the_jobs(settings: Settings) -> None:
    """A job that never ends is named when the time is over."""
    async with Client(settings.kafka_bootstrap, settings.topic_prefix) as client:
        job = await client.submit(workload="python", items=[1])
    with pytest.raises(AssertionError, match=job.job_id):
        await assert_invariants(settings.kafka_bootstrap, settings.topic_prefix, expect_jobs=1, timeout_seconds=8.0)
