"""The service `claude_exec`: admission reads `claude.requests`, owners fold `claude.history` and run what it holds."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from services.claude_exec.cli.run_directory import remove_abandoned
from services.claude_exec.requests.admission import RequestAdmission
from services.claude_exec.requests.machine import RequestMachine
from services.claude_exec.requests.observer import RequestObserver
from services.claude_exec.requests.run import RequestRunnerParts
from services.claude_exec.requests.runner import RequestRunner
from services.claude_exec.requests.state import RequestState
from shared.blobs.store import BlobStore
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
from shared.kafka.service_producer import Producer
from shared.kafka.topics import CLAUDE_HISTORY, CLAUDE_OWNERS
from shared.logs.setup import get_logger
from shared.processes.service_process import Part, start_at_once
from shared.redis_client import make_redis
from shared.redis_pipelining import PipeliningRedis
from shared.settings import Settings

_log = get_logger(__name__)


class ClaudeExecService:
    """Admission, owners and runs of one process.

    Args:
        settings: the settings in force.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.producer = make_producer(settings, client_id="eldermesh-claude_exec")
        self.admission = RequestAdmission(settings, self.producer)

    @asynccontextmanager
    async def running(self, inbox: InboxConsumer) -> AsyncIterator[Sequence[Part]]:
        """Start all parts and yield them. On exit, runs get `drain_seconds` to end; the rest are interrupted.

        Raises:
            ConfigurationError: topics are missing.
            RetryableError: the broker does not answer.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            # Not after a time-out: what all owners have asked would be sent again because the answer to one is slow.
            redis = make_redis(settings, PipeliningRedis, retried=(RedisConnectionError,))
            stack.push_async_callback(redis.aclose)
            await drop_foreign_state(redis, settings, await read_or_create_incarnation(settings))
            await asyncio.to_thread(remove_abandoned, settings)
            await self.producer.start()
            stack.push_async_callback(self.producer.stop)
            runner = _runner(settings, redis, self.producer, stack)
            owners = Ownership(
                settings,
                CLAUDE_HISTORY,
                settings.topic(CLAUDE_OWNERS),
                self.producer,
                partial(_owner, settings, redis, runner, Waking(SystemClock())),
            )
            stack.push_async_callback(owners.stop)
            # Stopped before the owners, so that they or their successors read the facts of the last runs.
            stack.push_async_callback(runner.stop, settings.drain_seconds)
            stack.push_async_callback(inbox.stop)
            report = ProducingReport(redis, settings, "claude_exec", self.producer)
            stack.push_async_callback(report.stop)
            parts: list[Part] = [owners, inbox, report]
            await start_at_once(parts)
            _log.info("claude_exec started", partitions=settings.partition_count, slots=settings.claude_slots)
            yield parts
        _log.info("claude_exec stopped")


def _runner(settings: Settings, redis: Redis, producer: Producer, stack: AsyncExitStack) -> RequestRunner:
    blobs = BlobStore(settings.blobs)
    stack.callback(blobs.close)
    parts = RequestRunnerParts(
        settings=settings,
        worker_id=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}",
        claims=ClaimStore(redis, settings.topic(CLAUDE_HISTORY), lease_ms=round(settings.lease_seconds * 1000)),
        facts=FactAppender(producer),
        blobs=blobs,
    )
    return RequestRunner(parts, slots=settings.claude_slots)


def _owner(
    settings: Settings, redis: Redis, runner: RequestRunner, waking: Waking, log: KafkaPartitionLog, partition: int
) -> Owner[RequestState]:
    topic = settings.topic(CLAUDE_HISTORY)
    clock = SystemClock()
    return Owner(
        RequestMachine(settings.max_item_deaths),
        log,
        PartitionStore(redis, PartitionKeys(topic, partition)),
        NoDecisions(),
        runner,
        partition=partition,
        window_size=2 * settings.claude_slots,
        times=OwnerTimes(
            lease=settings.lease_seconds,
            claim_timeout=settings.claim_timeout_seconds,
            look=min(1.0, settings.heartbeat_seconds / 2),
        ),
        clock=clock,
        observer=RequestObserver(topic, clock),
        waking=waking,
    )
