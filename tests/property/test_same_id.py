"""Two jobs of one id, of two incarnations of the log: no process takes the one for the other. Over a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from services.router.engines.chunks.spec_cache import JobSpecs
from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.facts.jobs import JobRouted
from shared.history.chunk_id import ChunkId
from shared.history.keys import PartitionKeys
from shared.history.runs.claims import Claimed, ClaimStore, Renewal
from shared.history.snapshot import Advance, PartitionStore
from tests.unit.jobs.story import JOB, Story, accepted

TOPIC = "same.jobs.history"
CHUNK = ChunkId(JOB, 0, 1, 0, 1)


@dataclass(slots=True)
class Incarnations:
    """A Redis that is filled from one log after another; one worker's process lives through all of them."""

    redis: Redis
    specs: JobSpecs = field(default_factory=JobSpecs)

    async def begin(self, *items: Any, offset: int = 1, earlier_release: bool = False) -> JobState:
        """A new log, in which a job of the id is accepted and planned."""
        story = Story()
        fact = accepted(len(items), content=f"content {items}", offset=offset)
        original = fact.original.replace(str(list(range(len(items)))).replace(" ", ""), str(list(items)))
        spec = story.tell(fact.model_copy(update={"original": original})).spec
        story.tell(JobRouted(n=0, engine="celery", chunk_items=2, policy="static"))
        machine = JobMachine()
        await self.redis.flushall()
        store = PartitionStore(self.redis, PartitionKeys(TOPIC, 0))
        guard = (await store.load("token")).guard
        advance = Advance(
            2,
            "last",
            states={JOB: machine.encode(story.job)},
            specs={JOB: spec},
            current={str(CHUNK): JOB if earlier_release else machine.mark(story.job)},
        )
        await store.open_gate(await store.advance(guard, advance))
        return story.job

    @property
    def claims(self) -> ClaimStore:
        """The claims of the log."""
        return ClaimStore(self.redis, TOPIC, lease_ms=60_000)

    async def claim(self, run: str) -> Claimed:
        """A run's claim on the chunk."""
        claimed = await self.claims.claim(0, CHUNK, runner="w", run=run)
        assert isinstance(claimed, Claimed)
        return claimed

    async def items(self, claimed: Claimed) -> tuple[Any, ...] | None:
        """What the process would run under the claim."""
        spec = await self.specs.get(self.claims, 0, JOB, claimed)
        return None if spec is None else spec.items

    async def renewed(self, run: str, claimed: Claimed) -> Renewal:
        """What a run hears that was claimed then."""
        return await self.claims.renew(0, CHUNK, runner="w", run=run, mark=claimed.mark)


def through(server: EmbeddedRedis, steps: Callable[[Incarnations], Awaitable[None]]) -> None:
    """Go through incarnations of the log."""

    async def run() -> None:
        redis = Redis.from_url(server.url)
        try:
            await steps(Incarnations(redis))
        finally:
            await redis.aclose()

    asyncio.run(run())


def test_a_process_runs_the_items_of_the_job_that_it_has_claimed(world_redis: EmbeddedRedis) -> None:
    """It has kept what another job of the same id was to do, and what its own is to do, which it reads once."""

    async def steps(log: Incarnations) -> None:
        await log.begin(1, 2)
        assert await log.items(await log.claim("1")) == (1, 2)
        await log.begin(30, 40)
        claimed = await log.claim("2")
        assert await log.items(claimed) == (30, 40)
        await log.redis.delete(PartitionKeys(TOPIC, 0).specs)
        assert await log.items(claimed) == (30, 40)

    through(world_redis, steps)


def test_the_same_content_in_another_log_is_another_job(world_redis: EmbeddedRedis) -> None:
    """Its terms and its advice may be others: they are of settings and sages of another time."""

    async def steps(log: Incarnations) -> None:
        machine = JobMachine()
        first = machine.mark(await log.begin(1, 2, offset=1))
        assert machine.mark(await log.begin(1, 2, offset=1)) == first
        assert machine.mark(await log.begin(1, 2, offset=2)) != first

    through(world_redis, steps)


def test_a_run_of_another_job_of_the_id_is_stopped(world_redis: EmbeddedRedis) -> None:
    """Its claim went with the other log; taking it again would keep the new job's chunk from its own runs."""

    async def steps(log: Incarnations) -> None:
        await log.begin(1, 2)
        stale = await log.claim("1")
        await log.begin(30, 40)
        assert await log.renewed("1", stale) is Renewal.NOT_CURRENT
        fresh = await log.claim("2")
        assert await log.renewed("2", fresh) is Renewal.HELD

    through(world_redis, steps)


def test_a_run_lives_through_a_wipe(world_redis: EmbeddedRedis) -> None:
    """The same log again makes the same job, with the same mark."""

    async def steps(log: Incarnations) -> None:
        await log.begin(1, 2)
        claimed = await log.claim("1")
        await log.begin(1, 2)
        assert await log.renewed("1", claimed) is Renewal.HELD

    through(world_redis, steps)


def test_a_plan_of_an_earlier_release_has_no_mark(world_redis: EmbeddedRedis) -> None:
    """Then nothing is kept, and a run is not stopped for it, whichever of the two was planned by that release."""

    async def steps(log: Incarnations) -> None:
        await log.begin(1, 2, earlier_release=True)
        old = await log.claim("1")
        assert await log.items(old) == (1, 2)
        await log.begin(1, 2)
        assert await log.renewed("1", old) is Renewal.HELD
        await log.redis.hdel(PartitionKeys(TOPIC, 0).claims, str(CHUNK))
        new = await log.claim("2")
        await log.begin(30, 40, earlier_release=True)
        assert await log.renewed("2", new) is Renewal.HELD
        assert await log.items(await log.claim("2")) == (30, 40)

    through(world_redis, steps)
