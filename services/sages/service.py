"""The service `sages`: the panel reads `jobs.history` in a group, each sage what it learns from without one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from services.sages.panel.advisor import Advising, passes_over
from services.sages.panel.panel import Panel
from services.sages.panel.registry import installed_sages
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.health.producer_report import ProducingReport
from shared.kafka.clients import make_producer
from shared.kafka.groups import SAGES_PANEL
from shared.kafka.incarnation import read_or_create_incarnation
from shared.kafka.topics import JOBS_HISTORY
from shared.logs.setup import get_logger
from shared.processes.service_process import Part, start_at_once, until_stopped
from shared.redis_client import make_redis
from shared.settings import Settings

_log = get_logger(__name__)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run the service until `stop` is set.

    Raises:
        ConfigurationError: topics are missing.
        RetryableError: the broker does not answer.
        StopServiceError: the consumer stopped by itself.
    """
    async with AsyncExitStack() as stack:
        # Says, before anything is read, whether the topics are there: the embedded broker would make them.
        await read_or_create_incarnation(settings)
        producer = make_producer(settings, client_id="eldermesh-sages")
        await producer.start()
        stack.push_async_callback(producer.stop)
        sages = installed_sages()
        panel = Panel(sages, settings)
        await panel.start()
        stack.push_async_callback(panel.close)
        advising = Subscription(JOBS_HISTORY, SAGES_PANEL, Advising(settings, panel, producer), passes_over)
        inbox = InboxConsumer(settings, [advising], producer)
        stack.push_async_callback(inbox.stop)
        redis = make_redis(settings)
        stack.push_async_callback(redis.aclose)
        report = ProducingReport(redis, settings, "sages", producer)
        stack.push_async_callback(report.stop)
        parts: list[Part] = [inbox, report]
        await start_at_once(parts)
        _log.info("sages started", sages=list(sages))
        await until_stopped(parts, stop)
    _log.info("sages stopped")
