"""The service `sages`: the panel reads `jobs.history` in a group; each sage reads its topics without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from services.sages.panel.advisor import Advising
from services.sages.panel.panel import Panel
from services.sages.sage import installed_sages
from shared.consumer.inbox import InboxConsumer
from shared.health.producer_report import ProducingReport
from shared.kafka.clients import make_producer
from shared.kafka.incarnation import read_or_create_incarnation
from shared.logs.setup import get_logger
from shared.processes.service_process import Part, start_at_once
from shared.redis_client import make_redis
from shared.settings import Settings

_log = get_logger(__name__)


class SagesService:
    """The panel and its sages in one process.

    Args:
        settings: the settings in force.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sages = installed_sages()
        self._panel = Panel(self._sages, settings)
        self.producer = make_producer(settings, client_id="eldermesh-sages")
        self.advising = Advising(settings, self._panel, self.producer)

    @asynccontextmanager
    async def running(self, inbox: InboxConsumer) -> AsyncIterator[Sequence[Part]]:
        """Start all parts and yield them; on exit drain and stop them.

        Raises:
            ConfigurationError: topics are missing.
            RetryableError: the broker does not answer.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            # First check that the topics exist: the embedded broker creates topics when they are read.
            await read_or_create_incarnation(settings)
            await self.producer.start()
            stack.push_async_callback(self.producer.stop)
            await self._panel.start()
            stack.push_async_callback(self._panel.close)
            stack.push_async_callback(inbox.stop)
            redis = make_redis(settings)
            stack.push_async_callback(redis.aclose)
            report = ProducingReport(redis, settings, "sages", self.producer)
            stack.push_async_callback(report.stop)
            parts: list[Part] = [inbox, report]
            await start_at_once(parts)
            _log.info("sages started", sages=list(self._sages))
            yield parts
        _log.info("sages stopped")
