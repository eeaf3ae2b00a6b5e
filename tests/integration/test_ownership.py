"""Ownership on a real broker: a load with an overdue timer, a member that is polled, jobs that no one here can run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownError
from redis.asyncio import Redis

from eldermesh.kafka.errors import KafkaUnavailableError
from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from services.router.policy.decider import JobDecider
from services.router.policy.own_verdict import content_in_redis
from services.router.policy.routing import Routing
from services.router.read_model.lookup import JobLookup
from shared.facts.fact import Fact, InboxRecord
from shared.facts.jobs import AdviceEntry, JobAccepted, JobAdvised, JobTerms
from shared.health.parts import unowned_partitions
from shared.history import gates, ownership
from shared.history.clock import SystemClock
from shared.history.facts import fact_headers
from shared.history.kafka_log import KafkaPartitionLog
from shared.history.keys import PartitionKeys
from shared.history.machine import DispatchDue
from shared.history.owner import Owner
from shared.history.owner_parts import OwnerTimes, Rank
from shared.history.ownership import Ownership
from shared.history.snapshot import PartitionStore
from shared.kafka.clients import make_consumer, make_producer
from shared.kafka.topics import JOBS_HISTORY
from shared.redis_client import make_redis
from shared.settings import Settings
from shared.workloads import WorkloadRegistry
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.waiting import wait_until

GROUP = "owners"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class _Nowhere:
    """An engine that takes everything and runs nothing."""

    def rank(self, _state: JobState, /) -> Rank:
        return Rank(0, 0)

    async def dispatch(self, _partition: int, _chunks: Sequence[tuple[JobState, DispatchDue]], /) -> None:
        return None


@dataclass(frozen=True, slots=True)
class History:
    """A job history of one partition."""

    settings: Settings
    producer: AIOKafkaProducer
    redis: Redis

    @property
    def keys(self) -> PartitionKeys:
        """Of its partition."""
        return PartitionKeys(self.settings.topic(JOBS_HISTORY), 0)

    def _owner(self, log: KafkaPartitionLog, number: int) -> Owner[JobState]:
        clock, workloads = SystemClock(), WorkloadRegistry.installed()
        read_content = partial(content_in_redis, self.redis, self.keys)
        return Owner(
            JobMachine(),
            log,
            PartitionStore(self.redis, self.keys),
            JobDecider(self.settings, workloads, read_content, clock, Routing(self.settings, workloads)),
            _Nowhere(),
            partition=number,
            window_size=4,
            times=OwnerTimes(lease=15, claim_timeout=60),
            clock=clock,
        )

    @asynccontextmanager
    async def owned(self) -> AsyncIterator[Ownership]:
        """Somebody owns the partition, and has opened its gate."""
        owners = Ownership(self.settings, JOBS_HISTORY, self.settings.topic(GROUP), self.producer, self._owner)
        await owners.start()
        try:
            await wait_until(
                lambda: any(owner.is_open for owner in owners.owners.values()) or owners.failure,
                description="the partition is owned",
            )
            yield owners
        finally:
            await owners.stop()

    async def write(self, job_id: str, fact: Fact) -> None:
        """Append a fact."""
        await self.producer.send_and_wait(
            self.settings.topic(JOBS_HISTORY),
            fact.encode(),
            key=job_id.encode(),
            partition=0,
            headers=list(fact_headers(fact.fact_type, job_id, TRACEPARENT)),
        )

    async def accept(self, offset: int, *, workload: str = "python", advise_within_ms: int = 0) -> str:
        """Append the acceptance of a job; its id."""
        job_id = str(uuid4())
        content = {"workload": workload, "items": [4.0], "options": {"function": "math:sqrt"}}
        accepted = JobAccepted(
            inbox=InboxRecord(topic="jobs", partition=0, offset=offset),
            original=orjson.dumps(content).decode(),
            content_hash=f"h{offset}",
            terms=JobTerms(
                workload=workload,
                tenant="default",
                advice="none" if advise_within_ms == 0 else "rules",
                advise_within_ms=advise_within_ms,
                expires_after_ms=86_400_000,
            ),
            items_total=1,
            submitted_at=time.time_ns() // 1_000_000,
            trace_id=TRACE_ID,
            traceparent=TRACEPARENT,
        )
        await self.write(job_id, accepted)
        return job_id

    async def known(self, job_id: str) -> dict[str, Any] | None:
        """A job's state in Redis."""
        raw: Any = await self.redis.hget(self.keys.states, job_id)
        return None if raw is None else orjson.loads(raw)

    async def engine(self, job_id: str) -> str | None:
        """Where a job was routed to."""
        state = await self.known(job_id)
        return None if state is None else state["engine"]


@asynccontextmanager
async def history(broker: AnyBroker, redis_url: str) -> AsyncIterator[History]:
    """An empty history that nobody owns."""
    async with (
        fresh_topics(broker.bootstrap, broker.profile, redis_url=redis_url, partitions=1) as settings,
        make_producer(settings) as producer,
        aclosing(make_redis(settings)) as redis,
    ):
        yield History(settings, producer, redis)


async def test_a_timer_is_overdue_at_a_load(any_broker: AnyBroker, redis_server: str) -> None:
    """The time for advice runs out while nobody owns the partition and a fact waits: the next owner folds it first."""
    async with history(any_broker, redis_server) as past:
        async with past.owned():
            job_id = await past.accept(1, advise_within_ms=1500)
            state = await wait_until(lambda: past.known(job_id), description="the job is known")
        await past.write(job_id, JobAdvised(entries=(AdviceEntry(sage="rag", status="ok"),)))
        due = state["timers"]["advise"]["due"]
        await wait_until(lambda: time.time_ns() > due * 1_000_000, description="the time for advice is over")
        async with past.owned() as owners:
            assert owners.failure is None
            await wait_until(lambda: past.engine(job_id), description="the job is routed")


async def test_an_owner_without_live_jobs_wakes_only_to_look(any_broker: AnyBroker, redis_server: str) -> None:
    """At Redis, as seldom as it has to; with one it steps more often: no fact tells of room with an engine."""
    look = OwnerTimes(lease=15, claim_timeout=60).look
    async with history(any_broker, redis_server) as past, past.owned() as owners:
        owner = owners.owners[0]
        assert owner.idle_seconds == pytest.approx(look, abs=0.25)
        job_id = await past.accept(1)
        await wait_until(lambda: past.engine(job_id), description="the job is routed, and lives")
        assert owner.idle_seconds < look / 2


async def test_a_read_lets_the_loop_run(any_broker: AnyBroker, redis_server: str) -> None:
    """Reads with a wait of 0, one after another, and whatever they give: other tasks of the process go on."""
    async with history(any_broker, redis_server) as past:
        for offset in range(3):
            await past.accept(offset)
        log = KafkaPartitionLog(past.settings, JOBS_HISTORY, 0, past.producer)
        await log.start()
        try:
            found = 0
            turns = asyncio.create_task(_count_turns())
            while found < 3:
                found += len(await log.read(found, max_records=1, wait_seconds=0.0))
            assert turns.cancel(), "it is still at work"
            assert await turns > 3
        finally:
            await log.stop()


async def _count_turns() -> int:
    turns = 0
    try:
        while True:
            turns += 1
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        return turns


async def test_a_member_stays(any_broker: AnyBroker, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long after the limit between two polls it still owns its partition, and folds."""
    limit_ms = 2000
    monkeypatch.setattr(ownership, "make_consumer", partial(make_consumer, max_poll_interval_ms=limit_ms))
    async with history(any_broker, redis_server) as past, past.owned() as owners:
        began = time.monotonic()
        await wait_until(lambda: time.monotonic() - began > 5 * limit_ms / 1000, description="the limit has passed")
        await wait_until(partial(_is_owned, past), description="it owns its partition, or does again")
        assert list(owners.owners) == [0]
        job_id = await past.accept(1)
        await wait_until(lambda: past.engine(job_id), description="the job is routed")


async def test_readiness_tells_of_an_owner_that_is_gone(
    any_broker: AnyBroker, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate in Redis is open still, and nobody owns the partition: readiness notices, whatever the broker says."""
    monkeypatch.setattr(gates, "SILENT_SECONDS", 3.0)
    async with history(any_broker, redis_server) as past:
        async with past.owned():
            await wait_until(partial(_is_owned, past), description="readiness says so")
        await wait_until(partial(_closed, past), description="the partition counts as not owned")
        assert await unowned_partitions(past.settings, JOBS_HISTORY, GROUP) is not None


async def _closed(past: History) -> list[int]:
    return await gates.closed_gates(past.redis, past.keys.topic, 1)


async def _is_owned(past: History) -> bool:
    return await unowned_partitions(past.settings, JOBS_HISTORY, GROUP) is None


async def test_a_group_that_does_not_answer_gets_another_member(
    embedded_broker: str, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every poll of the member fails: another one joins, and owns."""
    monkeypatch.setattr(ownership, "_SILENT_SECONDS", 2.0)
    async with history(AnyBroker(embedded_broker, "embedded"), redis_server) as past, past.owned() as owners:
        first = owners._member  # noqa: SLF001 - no broker fails like this when asked to
        monkeypatch.setattr(first, "getmany", _fail)
        await wait_until(lambda: owners._member is not first, description="another member")  # noqa: SLF001
        job_id = await past.accept(1)
        await wait_until(lambda: past.engine(job_id), description="the job is routed")


async def _fail(**_: object) -> None:
    raise KafkaUnavailableError(UnknownError())


async def test_a_workload_that_is_not_installed(any_broker: AnyBroker, redis_server: str) -> None:
    """Its job waits, and who asks is told why; the next job of the partition is routed, and no owner stops."""
    async with history(any_broker, redis_server) as past, past.owned() as owners:
        strange = await past.accept(1, workload="acme_plugin")
        job_id = await past.accept(2)
        await wait_until(lambda: past.engine(job_id), description="the neighbour is routed")
        assert owners.failure is None
        assert await past.engine(strange) is None
        lookup = JobLookup(past.redis, past.keys.topic, 1)
        why = await wait_until(lambda: lookup.trouble(strange), description="somebody says why")
        assert "'acme_plugin' is not installed" in why
        assert await lookup.all_trouble() == {strange: why}
        assert await lookup.trouble(job_id) is None
