"""The service `notifier`: a planner reads ends and holds; owners fold `notifications` and send the messages."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from services.notifier.notifications.machine import NotificationMachine
from services.notifier.notifications.observer import NotificationObserver
from services.notifier.notifications.run import SendRunnerParts
from services.notifier.notifications.runner import SLOTS, SendRunner, claim_timeout_of
from services.notifier.notifications.state import NotificationState
from services.notifier.planner.planner import Planner
from services.notifier.rules.file import load_rules
from services.notifier.rules.schema import Rules
from services.notifier.templates.process import TemplateProcess
from shared.consumer.inbox import InboxConsumer
from shared.health.producer_report import ProducingReport
from shared.history.clock import SystemClock, Waking
from shared.history.fact_appender import FactAppender
from shared.history.foreign_state import drop_foreign_state
from shared.history.kafka_log import KafkaPartitionLog
from shared.history.keys import PartitionKeys
from shared.history.owner import Owner
from shared.history.owner_parts import NoDecisions, OwnerTimes
from shared.history.ownership import Ownership
from shared.history.runs.claims import ClaimStore
from shared.history.snapshot import PartitionStore
from shared.kafka.clients import make_producer
from shared.kafka.incarnation import read_or_create_incarnation
from shared.kafka.topics import NOTIFICATIONS, NOTIFIER_OWNERS
from shared.logs.setup import get_logger
from shared.processes.service_process import Part, start_at_once
from shared.redis_client import make_redis
from shared.redis_pipelining import PipeliningRedis
from shared.settings import Settings

_log = get_logger(__name__)


class NotifierService:
    """Planner, owners and sends of one process.

    Args:
        settings: the settings in force.

    Raises:
        ConfigurationError: the rules file is wrong.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules = load_rules(settings.notify_rules)
        self._templates = TemplateProcess()
        self.producer = make_producer(settings, client_id="eldermesh-notifier")
        self.planner = Planner(settings, self._rules, self.producer, self._templates)

    @asynccontextmanager
    async def running(self, inbox: InboxConsumer) -> AsyncIterator[Sequence[Part]]:
        """Start all parts and yield them. On exit, sends get `drain_seconds` to end; the rest are cancelled.

        Raises:
            ConfigurationError: topics are missing.
            RetryableError: the broker does not answer.
        """
        settings, rules = self._settings, self._rules
        async with AsyncExitStack() as stack:
            # Not after a time-out: what all owners have asked would be sent again because the answer to one is slow.
            redis = make_redis(settings, PipeliningRedis, retried=(RedisConnectionError,))
            stack.push_async_callback(redis.aclose)
            await drop_foreign_state(redis, settings, await read_or_create_incarnation(settings))
            await self.producer.start()
            stack.push_async_callback(self.producer.stop)
            runner = SendRunner(_parts(settings, rules, redis, FactAppender(self.producer)))
            make_owner = partial(_owner, settings, redis, runner, Waking(SystemClock()))
            owners = Ownership(settings, NOTIFICATIONS, settings.topic(NOTIFIER_OWNERS), self.producer, make_owner)
            stack.push_async_callback(self._templates.close)
            stack.push_async_callback(owners.stop)
            # Stopped before the owners, so that they or their successors read the facts of the last sends.
            stack.push_async_callback(runner.stop, settings.drain_seconds)
            stack.push_async_callback(inbox.stop)
            report = ProducingReport(redis, settings, "notifier", self.producer)
            stack.push_async_callback(report.stop)
            parts: list[Part] = [owners, inbox, report]
            await start_at_once(parts)
            _log.info("notifier started", rules=len(rules.rules), channels=sorted(rules.channels))
            if not rules.rules:
                _log.info("nobody will be told anything: MESH_NOTIFY_RULES names no file with rules")
            yield parts
        _log.info("notifier stopped")


def _parts(settings: Settings, rules: Rules, redis: Redis, facts: FactAppender) -> SendRunnerParts:
    return SendRunnerParts(
        settings=settings,
        worker_id=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}",
        claims=ClaimStore(redis, settings.topic(NOTIFICATIONS), lease_ms=round(settings.lease_seconds * 1000)),
        facts=facts,
        senders={name: channel.sender(settings) for name, channel in rules.channels.items()},
    )


def _owner(
    settings: Settings, redis: Redis, runner: SendRunner, waking: Waking, log: KafkaPartitionLog, partition: int
) -> Owner[NotificationState]:
    topic = settings.topic(NOTIFICATIONS)
    return Owner(
        NotificationMachine(topic, partition, settings.max_item_deaths),
        log,
        PartitionStore(redis, PartitionKeys(topic, partition)),
        NoDecisions(),
        runner,
        partition=partition,
        window_size=2 * SLOTS,
        times=OwnerTimes(
            lease=settings.lease_seconds,
            claim_timeout=claim_timeout_of(settings),
            look=min(1.0, settings.heartbeat_seconds / 2),
        ),
        clock=SystemClock(),
        observer=NotificationObserver(topic),
        waking=waking,
    )
