"""Random runs of the history machine: crashes, stale owners, lost Redis, duplicated tasks, whatever comes to mind.

`MESH_PROPERTY_EXAMPLES` (default 10; 40 in `.ci/run`) runs of at most `MESH_PROPERTY_STEPS` (40) steps each; the seed
(`MESH_PROPERTY_SEED`) is fixed and printed. Each run ends with `settle()`: faults stop, everything must end, and all
promises are checked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from tests.property.fact_writer import job_id
from tests.property.memory_log import ProduceFault, ReadFault
from tests.property.owner_life import LOOK_SECONDS, OwnerProcess
from tests.property.promises import check_public
from tests.property.running import settle
from tests.property.virtual_loop import VirtualLoop
from tests.property.world import World
from tests.property.world_redis import RedisFault
from tests.property.world_workload import COSTS, FAIL, POISON, QUOTA, SLICED

EXAMPLES = int(os.environ.get("MESH_PROPERTY_EXAMPLES", "10"))
STEPS = int(os.environ.get("MESH_PROPERTY_STEPS", "40"))
SEED = int(os.environ.get("MESH_PROPERTY_SEED", "20261123"))

_MOST_OWNERS = 3
_MOST_RUNNERS = 5
_HOUR_MS = 3600 * 1000

_MOST_JOBS = 4

numbers = st.integers(1, _MOST_JOBS)
which = st.integers(0, 4)
words = st.lists(st.sampled_from(["a", "b", COSTS, COSTS, FAIL, POISON, QUOTA]), min_size=1, max_size=5)


def _labels(chunk: str, *others: str) -> dict[str, str]:
    return {"chunk": chunk} | {label: "1" for label in others if label}


class HistoryRuns(RuleBasedStateMachine):
    """One random run."""

    server: ClassVar[EmbeddedRedis]

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._is_broken = False
        self.world = self._runner.run(self._begin(self.server))

    async def _begin(self, server: EmbeddedRedis) -> World:
        world = World(server, window_size=2)
        await world.begin()
        await world.start_owner()
        return world

    def _do(self, action: Coroutine[Any, Any, Any]) -> Any:
        try:
            answer = self._runner.run(action)
            check_public(self.world)
            self._runner.run(self.world.mirror.check())
        except BaseException:
            self._is_broken = True
            raise
        return answer

    def _pick(self, processes: list[Any], index: int) -> Any:
        return processes[index % len(processes)]

    @property
    def _owners(self) -> list[OwnerProcess]:
        return [owner for owner in self.world.owners if not owner.is_dead]

    @initialize(
        runners=st.integers(0, 2),
        calls=st.sampled_from([1, 1, 2, 4, 12]),
        chunk=st.sampled_from(["1", "2", "4"]),
        label=st.sampled_from(["", "", "", "hold"]),
        sliced=st.sampled_from(["", SLICED]),
    )
    def on_its_way(self, runners: int, calls: int, chunk: str, label: str, sliced: str) -> None:
        """A run begins anywhere on the way of a first job: new, held, routed, running, or with results."""
        self.world.submit(1, ["a", COSTS, "b", "c"], labels=_labels(chunk, label, sliced))
        self._do(self.world.work(self.world.owners[0]))
        for _ in range(min(runners, len(self.world.queue))):
            self._do(self.world.advance(self._do(self.world.deliver(keep=True)), calls))

    def _number(self, number: int) -> int:
        """Retention is longer than a job's life: an id whose facts it took is not given again here."""
        while job_id(number) in self.world.taken_by_retention:
            number += _MOST_JOBS
        return number

    # People ----------------------------------------------------------------------------------------------------------

    @rule(
        number=numbers,
        items=words,
        chunk=st.sampled_from(["1", "2", "5"]),
        label=st.sampled_from(["", "", "", "hold", "refuse"]),
        sliced=st.sampled_from(["", SLICED]),
        max_failed=st.integers(0, 2),
        hours=st.sampled_from([None, None, 1, 4]),
        max_cost=st.sampled_from([None, None, 150]),
        advise_within_ms=st.sampled_from([0, 0, 120_000, _HOUR_MS]),
    )
    def submit(
        self,
        number: int,
        items: list[str],
        chunk: str,
        label: str,
        sliced: str,
        max_failed: int,
        hours: int | None,
        max_cost: int | None,
        advise_within_ms: int,
    ) -> None:
        """A submit; of an id that was used before it is a conflict, or the same once more."""
        self.world.submit(
            self._number(number),
            items,
            labels=_labels(chunk, label, sliced),
            max_failed=max_failed,
            active_timeout_ms=None if hours is None else hours * _HOUR_MS,
            max_cost_micros=max_cost,
            submitted_by="sue",
            advise_within_ms=advise_within_ms,
        )

    @rule(number=numbers, redelivered=st.booleans())
    def repeat(self, number: int, redelivered: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        """The same submit again, from another record or the same one."""
        number = self._number(number)
        if any(submit.job == job_id(number) for submit in self.world.submitted):
            self.world.repeat(number, redelivered=redelivered)

    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        """A cancel, of a job that is there or is not."""
        self.world.cancel(self._number(number))

    @rule(number=numbers, approve=st.booleans(), by=st.sampled_from(["ann", "bob", "sue"]))
    def decide(self, number: int, approve: bool, by: str) -> None:  # noqa: FBT001 - hypothesis gives it
        """A decision on a hold, or on none; its command comes twice, or is the submitter's own."""
        number = self._number(number)
        inbox = self.world.decide(number, approve=approve, by=by)
        self.world.decide(number, approve=approve, by=by, inbox=inbox)

    @rule(number=numbers, risk=st.sampled_from(["low", "critical"]))
    def advise(self, number: int, risk: str) -> None:
        """The panel speaks, asked or not, in time or late, perhaps for the second time."""
        self.world.advise(self._number(number), risk)

    @rule(number=numbers, hours=st.integers(0, 3))
    def pause(self, number: int, hours: int) -> None:
        """A quota is used up."""
        self.world.pause(self._number(number), hours * 3600.0)

    # Owners ----------------------------------------------------------------------------------------------------------

    @rule(index=which, calls=st.integers(1, 6))
    def owner_steps(self, index: int, calls: int) -> None:
        """An owner, stale or not, makes some calls."""
        self._do(self.world.advance(self._pick(self._owners, index), calls))

    @rule(index=which)
    def owner_works(self, index: int) -> None:
        """An owner does all it can."""
        self._do(self.world.work(self._pick(self._owners, index)))

    @rule(index=which, port=st.sampled_from(["publish", "advance", "append", "dispatch", "look", "load", "open_gate"]))
    def owner_comes_to(self, index: int, port: str) -> None:
        """An owner goes on until it is about to make a certain call, if it comes to that."""
        self._do(self.world.approach(self._pick(self._owners, index), port))

    @rule(index=which, what=st.sampled_from(["crash", "another", "another", "assign"]))
    def owners_change(self, index: int, what: str) -> None:
        """SIGKILL between any two calls; the group gives the partition to somebody new, or back to one that lives."""
        match what:
            case "crash":
                self.world.kill(self._pick(self._owners, index))
            case "assign":
                self.world.assigned = self._pick(self._owners, index)
        if len(self._owners) < _MOST_OWNERS and what in ("crash", "another"):
            self._do(self.world.start_owner())

    # Runners ---------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.queue and len(self.world.live_runners) < _MOST_RUNNERS)
    @rule(index=which, keep=st.booleans(), calls=st.integers(0, 12))
    def deliver(self, index: int, keep: bool, calls: int) -> None:  # noqa: FBT001 - hypothesis gives it
        """The engine delivers a task, perhaps not for the last time; its runner goes some way."""
        runner = self._do(self.world.deliver(index % len(self.world.queue), keep=keep))
        self._do(self.world.advance(runner, calls))

    @precondition(lambda self: self.world.live_runners)
    @rule(index=which, calls=st.integers(1, 12))
    def runner_steps(self, index: int, calls: int) -> None:
        """A runner makes some calls."""
        self._do(self.world.advance(self._pick(self.world.live_runners, index), calls))

    @precondition(lambda self: self.world.live_runners)
    @rule(index=which, what=st.sampled_from(["dies", "dies, redelivered", "freezes", "freezes", "sleeps"]))
    def runner_fails(self, index: int, what: str) -> None:
        """SIGKILL of a worker, after which the engine may deliver its task again; SIGSTOP; its machine is suspended."""
        runner = self._pick(self.world.live_runners, index)
        if what == "sleeps":
            runner.suspend()
            return
        if what == "freezes":
            runner.freeze()
            return
        self.world.kill(runner)
        if what == "dies, redelivered":
            self.world.queue.append(runner.task)

    @precondition(lambda self: self.world.live_runners)
    @rule(index=which, calls=st.integers(0, 4))
    def runner_is_stopped(self, index: int, calls: int) -> None:
        """A worker that drains interrupts what it runs, and makes some calls."""
        runner = self._pick(self.world.live_runners, index)
        self._do(self.world.interrupt(runner))
        self._do(self.world.advance(runner, calls))

    @precondition(lambda self: any(runner.is_frozen for runner in self.world.live_runners))
    @rule(index=which, calls=st.integers(0, 3))
    def runner_thaws(self, index: int, calls: int) -> None:
        """SIGCONT, or its machine wakes up; its work may go on a little before its timers fire."""
        runner = self._pick([runner for runner in self.world.live_runners if runner.is_frozen], index)
        self._do(self.world.thaw(runner, calls))

    @precondition(lambda self: self.world.in_flight)
    @rule()
    def fact_lands(self) -> None:
        """A dead runner's last fact arrives."""
        self.world.land()

    # The world -------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([60.0, 300.0, 950.0, 950.0, 3700.0, 4 * 3600.0]))
    def time_passes(self, seconds: float) -> None:
        """For everybody."""
        self._do(self.world.pass_time(seconds))

    @rule(fault=st.sampled_from(["lost", "ambiguous", "partial", "twice"]), times=st.sampled_from([1, 1, 4]))
    def produce_fails(self, fault: ProduceFault, times: int) -> None:
        """The next produce calls, whoever makes them."""
        self.world.log.faults.extend([fault] * times)

    @rule(
        reads=st.lists(st.sampled_from(["down", "refused", "nothing"]), max_size=4),
        bounds=st.sampled_from([0, 0, 1, 2]),
    )
    def log_fails(self, reads: list[ReadFault], bounds: int) -> None:
        """The next calls of owners that read, or ask for start and end."""
        self.world.log.read_faults.extend(reads)
        self.world.log.bounds_faults.extend(["down"] * bounds)

    @rule()
    def retention_trims(self) -> None:
        """It takes all jobs that are over, as far as no other one began before."""
        self.world.trim()

    @rule(fault=st.sampled_from(["down", "reply_lost", "late"]))
    def redis_fails(self, fault: RedisFault) -> None:
        """An owner's next call."""
        self.world.redis.faults.append(fault)

    @precondition(lambda self: self.world.redis.late)
    @rule()
    def call_comes_through(self) -> None:
        """One that an owner gave up, whatever has become of Redis and of the owner since."""
        self._do(self.world.redis.land())

    @rule(fault=st.sampled_from(["down", "reply_lost"]), of=st.sampled_from(["claim", "renewal"]))
    def claim_fails(self, fault: RedisFault, of: str) -> None:
        """The next claim or renewal that a runner asks for."""
        faults = self.world.redis.claim_faults if of == "claim" else self.world.redis.renewal_faults
        faults.append(fault)

    @rule(requests=st.integers(0, 1), answers=st.integers(0, 2))
    def redis_is_slow(self, requests: int, answers: int) -> None:
        """To be asked, or to answer, when runners claim or renew."""
        self.world.slow_requests, self.world.slow_answers = requests, answers

    @rule(is_down=st.booleans())
    def engine_fails(self, is_down: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        """It takes no task, or takes them again."""
        self.world.engine_is_down = is_down

    @rule(skew_ms=st.sampled_from([0, -5000, -_HOUR_MS, 7000]))
    def broker_clock_jumps(self, skew_ms: int) -> None:
        """Record times go forth and back."""
        self.world.log.skew_ms = skew_ms

    @rule(at_once=st.sampled_from([1, 2, 3, 500]))
    def reads_are_short(self, at_once: int) -> None:
        """So many records at once."""
        self.world.records_at_once = at_once

    @precondition(lambda self: self.world.queue)
    @rule(index=which)
    def task_is_lost(self, index: int) -> None:
        """By the engine."""
        self.world.queue.pop(index % len(self.world.queue))

    @rule()
    def redis_is_wiped(self) -> None:
        """FLUSHALL."""
        self._do(self.world.wipe())

    @rule()
    def redis_is_saved(self) -> None:
        """Into a file that it may restart from."""
        self._do(self.world.remember())

    @precondition(lambda self: self.world.pasts)
    @rule(index=which, restart=st.sampled_from([True, True, True, False]))
    def redis_goes_back(self, index: int, restart: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        """It restarts from an older file; now and then it even keeps its run id, which no real one does."""
        self._do(self.world.roll_back(index % len(self.world.pasts), restart=restart))

    @rule(empty=st.booleans())
    def redis_restarts(self, empty: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        """It restarts with all it held, or with nothing."""
        self._do(self.world.restart_redis(empty=empty))

    # What single faults seldom add up to ------------------------------------------------------------------------------

    @rule(
        how=st.sampled_from(["wiped", "restarted", "older", "older", "torn"]),
        stop=st.sampled_from(["frozen", "frozen", "at work", "dead"]),
        owners=st.sampled_from([1, 1, 2]),
        seconds=st.sampled_from([10.0, 310.0, 470.0, 830.0]),
        at_once=st.sampled_from([1, 2, 500]),
    )
    def redis_forgets_under_a_run(self, how: str, stop: str, owners: int, seconds: float, at_once: int) -> None:
        """Redis loses what it knew while a run is under way; after a while somebody is given the same task."""
        world = self.world
        if not world.queue:
            self._do(world.work(self._owners[-1]))
        if how in ("older", "torn"):
            self._do(world.remember())
        self._begin_a_run(stop)
        if how == "wiped":
            self._do(world.wipe())
        elif how == "restarted":
            self._do(world.restart_redis(empty=False))
        else:
            self._do(world.roll_back(restart=how == "older"))
        world.records_at_once = at_once
        for _ in range(owners):
            self._do(world.pass_time(LOOK_SECONDS))
            self._do(world.work(self._owners[-1], most=40))
            if owners > 1 and len(self._owners) < _MOST_OWNERS:
                self._do(world.start_owner())
        self._do(world.pass_time(seconds))
        self._do(world.work(self._owners[-1], most=40))
        self._begin_a_run("at work")

    def _begin_a_run(self, stop: str) -> None:
        world = self.world
        if not world.queue or len(world.live_runners) >= _MOST_RUNNERS:
            return
        runner = self._do(world.deliver(keep=True))
        self._do(world.advance(runner, 1 if stop == "dead" else 3))
        if stop == "frozen":
            runner.freeze()
        elif stop == "dead":
            world.kill(runner)

    @rule(index=which, loads=st.integers(1, 3), wiped=st.booleans(), calls=st.integers(0, 8))
    def owner_loads_again(
        self,
        index: int,
        loads: int,
        wiped: bool,  # noqa: FBT001 - hypothesis gives it
        calls: int,
    ) -> None:
        """Somebody else wrote a load token or wiped Redis; one owner loads each time, and goes on a little."""
        owner = self._pick(self._owners, index)
        for _ in range(loads):
            self._do(self.world.wipe() if wiped else self.world.take_token())
            self._do(self.world.pass_time(LOOK_SECONDS))
            self._do(self.world.work(owner, most=6 + calls))

    @precondition(lambda self: self.world.queue)
    @rule(gap=st.sampled_from([0.0, 950.0]), at_once=st.sampled_from([2, 500]))
    def facts_pile_up(self, gap: float, at_once: int) -> None:
        """No owner reads while runs end, die or give up; then plans and results come to it in one batch."""
        self._do(self.world.run_all())
        self._do(self.world.pass_time(gap))
        self.world.records_at_once = at_once
        self._do(self.world.work(self._owners[-1]))

    @precondition(lambda self: self.world.live_runners)
    @rule(
        index=which, port=st.sampled_from(["item", "append", "finish", "answer", "renew", "claim"]), kill=st.booleans()
    )
    def runner_comes_to(self, index: int, port: str, kill: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        """A runner goes on until it is about to make a certain call, and is stopped or killed right after it."""
        runner = self._pick(self.world.live_runners, index)
        self._do(self.world.approach(runner, port))
        if runner.is_dead or runner.is_frozen:
            return
        if kill:
            self._do(self.world.advance(runner))
            self.world.kill(runner)
        else:
            self._do(self.world.freeze_after(runner))

    def teardown(self) -> None:
        """Everything ends, and every promise was kept."""
        try:
            if not self._is_broken:
                self._runner.run(settle(self.world))
        finally:
            self._runner.run(self.world.end())
            self._runner.close()


@pytest.mark.timeout(1800)
def test_every_promise_survives_random_faults(world_redis: EmbeddedRedis) -> None:
    """Whatever fails in whatever order: no job is lost, no item counts twice, and repeats have the same bytes."""
    print(f"seed {SEED}, {EXAMPLES} examples of {STEPS} steps")  # noqa: T201 - shown when the test fails
    run = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    HistoryRuns.server = world_redis
    run_state_machine_as_test(seed(SEED)(HistoryRuns), settings=run)
