"""What one job makes fail costs that job alone: whatever trips over it, its neighbours end, and it goes on later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.errors import RetryableError
from shared.history.machine import DispatchDue
from shared.history.owner_parts import NoObserver
from shared.history.snapshot import PartitionStore
from shared.history.subject_failures import FORGET_SECONDS, TELL_SECONDS, OwnTrouble
from tests.property.expectations import expect_end
from tests.property.fact_writer import job_id
from tests.property.owner_life import LOOK_SECONDS, OwnerLog, WorldDecider, WorldDispatcher
from tests.property.running import in_a_world, settle
from tests.property.world import World


@dataclass
class Trap:
    """Makes a method of a class fail for the first job, while it is set."""

    patch: pytest.MonkeyPatch
    is_set: bool = True
    sprung: int = field(default=0, init=False)

    def lay(self, holder: type, method: str, concerns: Callable[..., bool]) -> None:
        """Put it around a method; `concerns` says of its arguments whether they are about the first job."""
        shipped: Any = getattr(holder, method)

        def trapped(*arguments: Any, **more: Any) -> Any:
            if self.is_set and concerns(*arguments):
                self.sprung += 1
                raise ValueError("one job trips this")
            return shipped(*arguments, **more)

        self.patch.setattr(holder, method, trapped)


def _is_first(_of: object, state: JobState, *_: object) -> bool:
    return state.job_id == job_id(1)


def _holds_first(_of: object, _partition: int, chunks: Sequence[tuple[JobState, DispatchDue]]) -> bool:
    return any(state.job_id == job_id(1) for state, _ in chunks)


@pytest.mark.parametrize(
    ("holder", "method", "concerns"),
    [
        (WorldDecider, "decide", _is_first),
        (JobMachine, "due", _is_first),
        (WorldDispatcher, "rank", _is_first),
        (WorldDispatcher, "dispatch", _holds_first),
        (NoObserver, "published_end", _is_first),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_job_trips_it(
    world_redis: EmbeddedRedis,
    monkeypatch: pytest.MonkeyPatch,
    holder: type,
    method: str,
    concerns: Callable[..., bool],
) -> None:
    """The next job is decided on, run and ended meanwhile; the first one ends once nothing trips any more."""

    async def steps(world: World) -> None:
        trap = Trap(monkeypatch)
        trap.lay(holder, method, concerns)
        world.submit(1, ["a"])
        world.submit(2, ["a"])
        owner = await world.start_owner()
        for _ in range(3):
            await world.work(owner)
            await world.run_all()
            await world.pass_time(LOOK_SECONDS)
        await world.work(owner)
        assert trap.sprung
        assert owner.failure is None
        expect_end(world, 2, "completed")
        trap.is_set = False
        await settle(world)
        expect_end(world, 1, "completed")

    in_a_world(world_redis, steps)


def test_a_plan_that_cannot_be_made(world_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runners of two jobs die, and no plan can be made for the first: the second is planned again, and ends."""

    async def steps(world: World) -> None:
        trap = Trap(monkeypatch)
        trap.lay(JobMachine, "replan", _is_first)
        world.submit(1, ["a"])
        world.submit(2, ["a"])
        owner = await world.start_owner()
        await world.work(owner)
        for runner in [await world.deliver(), await world.deliver()]:
            await world.advance_to(runner, "item")
            world.kill(runner)
        await world.pass_time(950)
        for _ in range(3):
            await world.work(owner)
            await world.run_all()
            await world.pass_time(LOOK_SECONDS)
        assert trap.sprung
        assert owner.failure is None
        expect_end(world, 2, "completed")
        trap.is_set = False
        await settle(world)
        expect_end(world, 1, "completed")

    in_a_world(world_redis, steps)


def test_content_that_cannot_be_read(world_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision waits for Redis or the like: no other is begun in that step, and a job that needs none ends."""
    asked: list[str] = []

    async def cannot(_self: WorldDecider, state: JobState, _due: object) -> None:
        asked.append(state.job_id)
        raise RetryableError("not now")

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        world.submit(2, ["a"])
        world.submit(3, ["a"])
        world.cancel(3)
        with monkeypatch.context() as patch:
            patch.setattr(WorldDecider, "decide", cannot)
            owner = await world.start_owner()
            await world.work(owner)
            assert len(asked) == 1
            expect_end(world, 3, "cancelled")
        await settle(world)
        expect_end(world, 1, "completed")

    in_a_world(world_redis, steps)


def test_a_read_that_fails(world_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner reads again, and loads nothing: what it knows is still what Redis holds."""

    async def cannot(_self: OwnerLog, *_: object, **__: object) -> None:
        raise RetryableError("the broker does not answer")

    async def steps(world: World) -> None:
        world.submit(1, ["a"])
        owner = await world.start_owner()
        await world.work(owner)
        with monkeypatch.context() as patch:
            patch.setattr(OwnerLog, "read", cannot)
            await world.advance_to(owner, "back_off")
        await world.advance(owner)
        assert owner.stopped_at == "read"
        assert set(owner.owner.states) == {job_id(1)}
        await settle(world)

    in_a_world(world_redis, steps)


def test_a_refused_advance_is_a_lost_ownership(world_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is wiped under an owner that has facts to fold: the metric counts it, once."""
    lost: list[object] = []

    def note(observer: object) -> None:
        lost.append(observer)

    monkeypatch.setattr(NoObserver, "lost", note)

    async def steps(world: World) -> None:
        owner = await world.start_owner()
        await world.work(owner)
        await world.wipe()
        world.submit(1, ["a"])
        await world.advance_to(owner, "confirm")
        assert len(lost) == 1
        await settle(world)

    in_a_world(world_redis, steps)


def test_what_is_over_is_forgotten(world_redis: EmbeddedRedis) -> None:
    """One subject's trouble goes on, told each minute: another's, told once, is not kept with it."""

    async def steps(world: World) -> None:
        teller = _Teller(world)
        await teller.tell("lasts", "passes")
        assert await teller.told() == {"lasts", "passes"}
        for _ in range(round(FORGET_SECONDS / TELL_SECONDS)):
            await world.pass_time(TELL_SECONDS)
            await teller.tell("lasts")
        assert await teller.told() == {"lasts"}

    in_a_world(world_redis, steps)


def test_what_the_owner_before_has_told_is_forgotten(world_redis: EmbeddedRedis) -> None:
    """Another owner tells of one subject: what the one before it told of another one is no longer said."""

    async def steps(world: World) -> None:
        await _Teller(world).tell("before")
        teller = _Teller(world)
        await teller.tell("now")
        assert await teller.told() == {"now"}

    in_a_world(world_redis, steps)


def test_what_redis_did_not_take_is_noted_later(world_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note fails once, when a job's trouble is new: the next step notes it, though it is told but once a minute."""
    shipped = PartitionStore.note_trouble
    failed: list[dict[str, str | None]] = []

    async def fails_once(store: PartitionStore, trouble: Mapping[str, str | None]) -> None:
        if not failed:
            failed.append(dict(trouble))
            raise RedisConnectionError
        await shipped(store, trouble)

    async def steps(world: World) -> None:
        trap = Trap(monkeypatch)
        trap.lay(WorldDecider, "decide", _is_first)
        monkeypatch.setattr(PartitionStore, "note_trouble", fails_once)
        world.submit(1, ["a"])
        owner = await world.start_owner()
        await world.work(owner)
        await world.pass_time(TELL_SECONDS / 10)
        await world.work(owner)
        assert [set(trouble) for trouble in failed] == [{job_id(1)}]
        assert await _Teller(world).told() == {job_id(1)}
        trap.is_set = False
        await settle(world)

    in_a_world(world_redis, steps)


class _Teller:
    """As an owner tells of trouble, and as others read it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = PartitionStore(world.redis.client, world.keys)
        self._trouble = OwnTrouble("jobs.history", world.clock)

    async def tell(self, *subjects: str) -> None:
        """Tell of trouble, and note it."""
        for subject in subjects:
            self._trouble.tell(subject, "decide", ValueError())
        await self._store.note_trouble(trouble := self._trouble.to_note())
        self._trouble.noted(trouble)

    async def told(self) -> set[str]:
        """Of whom trouble is known."""
        noted: Any = await self._world.redis.client.hgetall(self._world.keys.trouble)
        return {subject.decode() for subject in noted}
