"""Admission as a process of its own, to be killed. Its settings come from `MESH_*` variables."""

from __future__ import annotations

import asyncio

from services.router.admission.commands import JobAdmission
from services.router.admission.ranking import CommandRanking
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS
from shared.settings import Settings
from shared.workloads import WorkloadRegistry

GROUP = "tests.admission"


async def main() -> None:
    """Admit until killed."""
    settings = Settings()
    producer = make_producer(settings)
    await producer.start()
    admission = JobAdmission(settings, producer, WorkloadRegistry.installed())
    ranking = CommandRanking(settings.tenant_weights.of)
    consumer = InboxConsumer(settings, [Subscription(JOBS, GROUP, admission, ranking=ranking)], producer)
    await consumer.start()
    await consumer.wait_failed()


if __name__ == "__main__":
    asyncio.run(main())
