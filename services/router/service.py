"""The router: admission reads the inboxes, owners fold the job history and act on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from itertools import chain

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from eldermesh.contract.tenants import inbox_of_tenant
from services.router.admission.commands import JobAdmission
from services.router.engines.celery.queue import CeleryDispatcher
from services.router.engines.celery.queue_depths import QueueDepthMetrics
from services.router.engines.dispatcher import JobDispatcher
from services.router.engines.ray.queue import RayDispatcher
from services.router.jobs.machine import JobMachine
from services.router.jobs.observer import JobObserver
from services.router.jobs.state import JobState
from services.router.policy.adaptive.backlog import Backlog
from services.router.policy.adaptive.evidence import Evidence
from services.router.policy.adaptive.policy import AdaptivePolicy
from services.router.policy.decider import JobDecider
from services.router.policy.own_verdict import content_in_redis
from services.router.policy.routing import Routing
from shared.consumer.inbox import InboxConsumer
from shared.health.producer_report import ProducingReport
from shared.history.clock import SystemClock, Waking
from shared.history.dispatch_window import WindowGroup
from shared.history.foreign_state import drop_foreign_state
from shared.history.kafka_log import KafkaPartitionLog
from shared.history.keys import PartitionKeys
from shared.history.owner import Owner
from shared.history.owner_parts import OwnerTimes
from shared.history.ownership import Ownership
from shared.history.snapshot import PartitionStore
from shared.kafka.clients import make_producer
from shared.kafka.incarnation import read_or_create_incarnation
from shared.kafka.topics import JOBS_HISTORY, ROUTER_OWNERS
from shared.logs.setup import get_logger
from shared.processes.service_process import Part, start_at_once
from shared.redis_client import make_redis
from shared.redis_pipelining import PipeliningRedis
from shared.settings import Settings
from shared.workloads import WorkloadRegistry

_log = get_logger(__name__)


class RouterService:
    """Admission and owners of one process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._waking = Waking(self._clock)
        self._windows = WindowGroup()
        # Not after a time-out: what all owners have asked would be sent again because the answer to one is slow.
        self._redis: Redis = make_redis(settings, PipeliningRedis, retried=(RedisConnectionError,))
        self._workloads = WorkloadRegistry.installed()
        self._celery = CeleryDispatcher(settings)
        self._ray = None if settings.ray_address is None else RayDispatcher(settings)
        self._ownership: Ownership | None = None
        self._routing = Routing(settings, self._workloads, self._ray_trouble, self._adaptive_policy())
        self.producer = make_producer(settings, client_id="eldermesh-router")
        self.admission = JobAdmission(settings, self.producer, self._workloads)
        self.tenant_admissions = {
            inbox_of_tenant(tenant): JobAdmission(settings, self.producer, self._workloads, tenant_of_inbox=tenant)
            for tenant in settings.tenants
        }

    @contextlib.asynccontextmanager
    async def running(self, inbox: InboxConsumer) -> AsyncIterator[Sequence[Part]]:
        """Start all parts and yield them; drain and stop them afterwards.

        Raises:
            ConfigurationError: topics are missing.
            RetryableError: the broker does not answer.
        """
        settings = self._settings
        await drop_foreign_state(self._redis, settings, await read_or_create_incarnation(settings))
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._redis.aclose)
            stack.push_async_callback(self._celery.close)
            if self._ray is not None:
                await self._ray.forget_trouble()
                stack.push_async_callback(self._ray.close)
            await self.producer.start()
            stack.push_async_callback(self.producer.stop)
            ownership = self._ownership = Ownership(
                settings, JOBS_HISTORY, settings.topic(ROUTER_OWNERS), self.producer, self._make_owner
            )
            for admission in (self.admission, *self.tenant_admissions.values()):
                stack.push_async_callback(admission.close)
            stack.push_async_callback(ownership.stop)
            stack.push_async_callback(inbox.stop)
            report = ProducingReport(self._redis, settings, "router", self.producer)
            stack.push_async_callback(report.stop)
            depths = QueueDepthMetrics(self._celery, self._ray_depths)
            stack.push_async_callback(_end, asyncio.create_task(depths.keep_looking()))
            parts: list[Part] = [ownership, inbox, report]
            await start_at_once(parts)
            _log.info("router started", partitions=settings.partition_count)
            self._warn_of_routes()
            yield parts
        _log.info("router stopped")

    def _warn_of_routes(self) -> None:
        """A workload of MESH_ROUTES may be misspelt; or it is installed elsewhere."""
        for name in sorted(self._settings.routes.root.keys() - set(self._workloads.names)):
            _log.warning("MESH_ROUTES names a workload that is not installed here", workload=name)

    def _adaptive_policy(self) -> AdaptivePolicy:
        settings, topic = self._settings, self._settings.topic(JOBS_HISTORY)
        partitions = [PartitionKeys(topic, number) for number in range(settings.partition_count)]
        evidence = Evidence(self._redis, partitions, self._clock)
        backlog = Backlog(self._live_jobs, self._share_owned, evidence.item_seconds, self._clock)
        return AdaptivePolicy(evidence, backlog, self._ray_start_seconds)

    def _live_jobs(self) -> Iterator[JobState]:
        owners = {} if self._ownership is None else self._ownership.owners
        return chain.from_iterable(owner.states.values() for owner in owners.values())

    def _share_owned(self) -> float:
        owned = 0 if self._ownership is None else len(self._ownership.owners)
        return owned / self._settings.partition_count

    def _ray_start_seconds(self, workload: str) -> float:
        return 0.0 if self._ray is None else self._ray.start_seconds(workload)

    def _ray_trouble(self) -> str | None:
        return None if self._ray is None else self._ray.trouble

    def _ray_depths(self) -> dict[str, int]:
        return {} if self._ray is None else {f"ray.{name}": of["waiting"] for name, of in self._ray.depths.items()}

    def _make_owner(self, log: KafkaPartitionLog, partition: int) -> Owner[JobState]:
        settings = self._settings
        topic = settings.topic(JOBS_HISTORY)
        keys = PartitionKeys(topic, partition)
        return Owner(
            JobMachine(settings.max_chunk_deaths, settings.max_item_deaths),
            log,
            PartitionStore(self._redis, keys),
            JobDecider(
                settings, self._workloads, partial(content_in_redis, self._redis, keys), self._clock, self._routing
            ),
            JobDispatcher(
                topic,
                self._celery,
                self._ray,
                self._workloads,
                self._clock,
                settings.is_for_ray,
                settings.tenant_weights.of,
            ),
            partition=partition,
            window_size=2 * max(settings.slots, settings.ray_runners),
            times=OwnerTimes(
                lease=settings.lease_seconds,
                claim_timeout=settings.claim_timeout_seconds,
                look=min(1.0, settings.heartbeat_seconds / 2),
            ),
            clock=self._clock,
            observer=JobObserver(topic, self._clock),
            waking=self._waking,
            windows=self._windows,
        )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
