"""Admission that runs, and the facts that it appends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from eldermesh.contract.records import PublicRecord
from services.router.admission.commands import JobAdmission
from services.router.admission.ranking import CommandRanking
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.facts.jobs import decode_job_fact
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS, JOBS_DECISIONS, JOBS_HISTORY
from shared.settings import Settings
from shared.workloads import WorkloadRegistry
from tests.inboxes import read_all
from tests.integration.admission_program import GROUP
from tests.waiting import wait_until


@asynccontextmanager
async def admitting(settings: Settings, *, group: str = GROUP, **options: Any) -> AsyncIterator[InboxConsumer]:
    """Admission that runs, on `jobs` and `jobs.decisions`, by rank."""
    producer = make_producer(settings)
    await producer.start()
    admission = JobAdmission(settings, producer, WorkloadRegistry.installed(), **options)
    inboxes = {JOBS: group, JOBS_DECISIONS: f"{group}.decisions"}
    ranking = CommandRanking(settings.tenant_weights.of)
    subscriptions = [Subscription(*inbox, admission, ranking=ranking) for inbox in inboxes.items()]
    consumer = InboxConsumer(settings, subscriptions, producer)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
        await producer.stop()


async def records_of(settings: Settings, topic: str, count: int) -> list[PublicRecord]:
    """The records of a topic, once there are so many."""

    async def enough() -> list[PublicRecord]:
        records = await read_all(settings, topic)
        return records if len(records) >= count else []

    return await wait_until(enough, description=f"{count} records on {topic}", interval_seconds=0.1)


async def facts_of(settings: Settings, count: int) -> list[tuple[PublicRecord, Any]]:
    """The facts of the job history with their records, once there are so many."""
    records = await records_of(settings, JOBS_HISTORY, count)
    return [(each, decode_job_fact(each.header("ce_type") or "", each.value or b"")) for each in records]
