"""A claim whose answer was lost is asked for again by the same run, on a real Redis; only the owner is played."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from services.router.engines.chunks.task import ChunkOutcome
from shared.history.chunk_id import ChunkId
from shared.history.runs.claims import Claimed, ClaimRefusal, ClaimStore
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.integration.chunk_running import LEASE_SECONDS, chunk_runner
from tests.integration.played_owner import PlayedOwner
from tests.waiting import wait_until

LEASE_MS = round(LEASE_SECONDS * 1000)


class LosesFirstAnswers(ClaimStore):
    """The shipped claims; the connection breaks when Redis has given a claim, and the answer never comes."""

    lost = 0

    async def claim(self, partition: int, chunk: ChunkId, *, runner: str, run: str) -> Claimed | ClaimRefusal:
        """Claim; the first two answers are lost."""
        answer = await super().claim(partition, chunk, runner=runner, run=run)
        if self.lost < 2:
            self.lost += 1
            raise RedisConnectionError("the answer was lost")
        return answer


@pytest.fixture
async def claims(settings: Settings, owner: PlayedOwner) -> AsyncIterator[ClaimStore]:
    """The runner's side."""
    async with aclosing(make_redis(settings)) as redis:
        yield ClaimStore(redis, owner.topic, lease_ms=LEASE_MS)


async def test_the_same_run_is_given_its_claim_again(owner: PlayedOwner, claims: ClaimStore) -> None:
    """With a renewed lease, and the items that are missing; another run of the same runner is refused."""
    (task,) = await owner.plan(list(range(20)), done=[0, 9])
    given = await claims.claim(0, task.chunk_id, runner="celery@a:1", run="r1")
    first_end = await owner.lease_end_ms(task)

    async def clock_went_on() -> bool:
        return await owner.redis_now_ms() > first_end - LEASE_MS

    await wait_until(clock_went_on, description="Redis' clock has gone on by a millisecond")
    assert await claims.claim(0, task.chunk_id, runner="celery@a:1", run="r1") == given
    assert isinstance(given, Claimed)
    assert given.missing == tuple(index for index in range(20) if index not in (0, 9))
    assert await owner.lease_end_ms(task) > first_end
    for runner, run in (("celery@a:1", "r2"), ("celery@b:1", "r1"), ("celery@a:1", "r"), ("celery@a:", "1 r1")):
        assert await claims.claim(0, task.chunk_id, runner=runner, run=run) is ClaimRefusal.LEAVE


@pytest.mark.parametrize("word", ["dead", "done"])
async def test_a_claim_that_ended_is_not_given_again(owner: PlayedOwner, claims: ClaimStore, word: str) -> None:
    """Not even to the run that had it: what follows is the owner's to decide."""
    (task,) = await owner.plan([1])
    await owner.set_claim(task, f"{word} celery@a:1 r1")
    assert await claims.claim(0, task.chunk_id, runner="celery@a:1", run="r1") is ClaimRefusal.LEAVE
    assert await owner.claim(task) == word


async def test_nor_one_on_a_chunk_that_was_replaced(owner: PlayedOwner, claims: ClaimStore) -> None:
    """A plan or an end that came between the two questions counts."""
    (task,) = await owner.plan([1])
    assert isinstance(await claims.claim(0, task.chunk_id, runner="celery@a:1", run="r1"), Claimed)
    await owner.replace(task)
    assert await claims.claim(0, task.chunk_id, runner="celery@a:1", run="r1") is ClaimRefusal.LEAVE


async def test_a_runner_whose_answers_are_lost_runs_its_chunk(settings: Settings, owner: PlayedOwner) -> None:
    """It asks until it is told, and runs; the same task, delivered once more, is refused: its run is another one."""
    async with aclosing(make_redis(settings)) as redis:
        claims = LosesFirstAnswers(redis, owner.topic, lease_ms=LEASE_MS)
        async with chunk_runner(settings, claims=lambda _: claims) as runner:
            (task,) = await owner.plan(list(range(5)))
            assert await runner.run(task) is ChunkOutcome.DONE
            assert await runner.run(task) is ChunkOutcome.LEFT
    assert claims.lost == 2
    assert len(await owner.results(task)) == 5
    assert await owner.claim(task) == "done"
