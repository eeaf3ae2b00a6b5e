"""The service `notifier`: a planner reads ends and holds, owners fold `notifications` and send what it holds."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from functools import partial
from uuid import uuid4

from redis.asyncio import Redis

from services.notifier.notifications.dispatcher import NoDecider, NotificationDispatcher
from services.notifier.notifications.machine import NotificationMachine
from services.notifier.notifications.observer import NotificationObserver
from services.notifier.notifications.runner import SLOTS, SendRunner
from services.notifier.notifications.runner_parts import SendRunnerParts, claim_timeout_of
from services.notifier.notifications.state import NotificationState
from services.notifier.planner.planner import Planner
from services.notifier.rules.file import load_rules
from services.notifier.rules.schema import Rules
from services.notifier.templates.process import TemplateProcess
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.health.producer_report import ProducingReport
from shared.history.clock import SystemClock
from shared.history.fact_appender import FactAppender
from shared.history.foreign_state import drop_foreign_state
from shared.history.kafka_log import KafkaPartitionLog
from shared.history.keys import PartitionKeys
from shared.history.owner import Owner
from shared.history.owner_times import OwnerTimes
from shared.history.ownership import Ownership
from shared.history.runs.claims import ClaimStore
from shared.history.snapshot import PartitionStore
from shared.history.suspension import Waking
from shared.kafka.clients import make_producer
from shared.kafka.groups import NOTIFIER_ENDS, NOTIFIER_HOLDS, NOTIFIER_OWNERS
from shared.kafka.incarnation import read_or_create_incarnation
from shared.kafka.topics import JOBS_DONE, JOBS_HOLDS, NOTIFICATIONS
from shared.logs.setup import get_logger
from shared.processes.service_process import Part, start_at_once, until_stopped
from shared.redis_client import make_redis
from shared.settings import Settings

_log = get_logger(__name__)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run the service until `stop` is set; then sends get `drain_seconds`, and what is left of them is broken off.

    Raises:
        ConfigurationError: the rules file is wrong, or topics are missing.
        RetryableError: the broker does not answer.
        StopServiceError: a part stopped by itself.
    """
    rules = load_rules(settings.notify_rules)
    async with AsyncExitStack() as stack:
        redis = make_redis(settings)
        stack.push_async_callback(redis.aclose)
        await drop_foreign_state(redis, settings, await read_or_create_incarnation(settings))
        producer = make_producer(settings, client_id="eldermesh-notifier")
        await producer.start()
        stack.push_async_callback(producer.stop)
        runner = SendRunner(_parts(settings, rules, redis, FactAppender(producer)))
        make_owner = partial(_owner, settings, redis, runner, Waking(SystemClock()))
        owners = Ownership(settings, NOTIFICATIONS, settings.topic(NOTIFIER_OWNERS), producer, make_owner)
        templates = TemplateProcess()
        stack.push_async_callback(templates.close)
        planner = Planner(settings, rules, producer, templates)
        inbox = InboxConsumer(
            settings,
            [
                Subscription(JOBS_DONE, NOTIFIER_ENDS, planner, planner.passes_over),
                Subscription(JOBS_HOLDS, NOTIFIER_HOLDS, planner, planner.passes_over),
            ],
            producer,
        )
        stack.push_async_callback(owners.stop)
        # Before the owners: what it tells them, they or their successors are to read.
        stack.push_async_callback(runner.stop, settings.drain_seconds)
        stack.push_async_callback(inbox.stop)
        report = ProducingReport(redis, settings, "notifier", producer)
        stack.push_async_callback(report.stop)
        parts: list[Part] = [owners, inbox, report]
        await start_at_once(parts)
        _log.info("notifier started", rules=len(rules.rules), channels=sorted(rules.channels))
        if not rules.rules:
            _log.info("nobody will be told anything: MESH_NOTIFY_RULES names no file with rules")
        await until_stopped(parts, stop)
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
        NoDecider(),
        NotificationDispatcher(topic, runner),
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
