"""The dispatcher of jobs: groups of chunks fail apart from each other, and what was taken is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from eldermesh.contract.vocabulary import EngineChoice
from services.router.engines.chunks.task import ChunkTask
from services.router.engines.dispatcher import JobDispatcher
from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.errors import RetryableError
from shared.facts.jobs import JobRouted
from shared.history.agenda import Agenda
from shared.history.chunk_sender import Sender
from shared.history.clock import Clock, SystemClock
from shared.history.dispatch_window import DispatchWindow
from shared.history.machine import DispatchDue
from shared.history.owner_memory import Memory
from shared.history.owner_parts import Dispatcher, Rank
from shared.history.snapshot import Guard
from shared.history.subject_failures import OwnTrouble
from shared.settings import Settings
from shared.tenant_weights import TenantWeights
from shared.workloads import Queue, WorkloadRegistry
from tests.unit.jobs.story import T0, Story, accepted
from tests.unit.runs import MovedClock

Chunks = list[tuple[JobState, DispatchDue]]


@dataclass
class Engine:
    """An engine that notes what it takes; `down` while it does not answer, `trouble` while it is better left alone."""

    down: bool = False
    trouble: str | None = None
    taken: list[str] = field(default_factory=list)
    priorities: list[int] = field(default_factory=list)
    asked: int = 0

    async def dispatch(self, tasks: Sequence[ChunkTask], *, workload: str, queue: Queue, priority: int) -> None:
        """Take tasks."""
        assert workload
        assert queue
        assert priority >= 0
        self.asked += 1
        if self.down:
            raise RetryableError("it does not answer")
        self.taken += [task.chunk for task in tasks]
        self.priorities += [priority] * len(tasks)


def chunks(where: Any = "celery", items: int = 2, **terms: Any) -> Chunks:
    """The chunks of a job that was routed, one for each item."""
    story = Story()
    story.tell(accepted(items, **terms), JobRouted(n=0, engine=where, chunk_items=1, policy="static"))
    due = JobMachine().due(story.job, T0)
    return [(story.job, entry) for entry in due if isinstance(entry, DispatchDue)]


def names(*groups: Chunks) -> set[str]:
    """Identities of chunks."""
    return {str(due.chunk) for group in groups for _, due in group}


def dispatcher(celery: Engine, ray: Engine, *on_ray: str) -> JobDispatcher:
    """The dispatcher, with the workloads that are installed; Ray may run those `on_ray`, all by default."""
    is_for_ray = Settings(ray_workloads=on_ray, _env_file=None).is_for_ray
    workloads, weight_of = WorkloadRegistry.installed(), TenantWeights({"heavy": 3.0}).of
    return JobDispatcher("jobs.history", celery, ray, workloads, SystemClock(), is_for_ray, weight_of)


def test_rank() -> None:
    """By priority and tenant; of a job whose terms are not known little is asked."""
    (state, _), *_ = chunks(priority="interactive", tenant="heavy")
    ranked = dispatcher(Engine(), Engine()).rank
    assert ranked(state) == Rank(0, state.first_offset, "heavy", 3.0)
    (state, _), *_ = chunks(tenant="light")
    assert ranked(state) == Rank(3, state.first_offset, "light")
    assert ranked(replace(state, terms=None)) == Rank(6, state.first_offset)


async def test_one_engine_is_down() -> None:
    """It is asked once, whatever stands in line for it; the other one takes its chunks, before and after."""
    celery, ray = Engine(), Engine(down=True)
    first, urgent = chunks(), chunks(priority="interactive")
    away = [*chunks("ray"), *chunks("ray", priority="batch")]
    outcome = await dispatcher(celery, ray).dispatch(0, [*first, *away, *urgent])
    assert outcome.taken == names(first, urgent)
    assert set(outcome.closed) == {"ray"}
    assert len(celery.taken) == 4
    assert ray.asked == 1


async def test_a_workload_is_not_installed() -> None:
    """Its chunks are not taken, and no engine is at fault."""
    celery = Engine()
    strange, known = chunks(workload="acme_plugin"), chunks()
    outcome = await dispatcher(celery, Engine()).dispatch(0, [*strange, *known])
    assert outcome.taken == names(known)
    assert set(outcome.refused) == names(strange)
    assert "acme_plugin" in str(next(iter(outcome.refused.values())))
    assert not outcome.closed


@pytest.mark.parametrize(
    ("wish", "trouble", "goes_to"),
    [
        ("auto", None, "ray"),
        ("auto", "Ray does not answer", "celery"),
        ("ray", None, "ray"),
        ("ray", "Ray does not answer", "ray"),
    ],
)
async def test_ray_is_in_trouble(wish: EngineChoice, trouble: str | None, goes_to: str) -> None:
    """A job that was routed to it goes to Celery, also if that was before; one that asked for Ray waits for it."""
    celery, ray = Engine(), Engine(trouble=trouble)
    job = chunks("ray", engine=wish)
    outcome = await dispatcher(celery, ray).dispatch(0, job)
    assert outcome.taken == names(job)
    assert {"celery": set(celery.taken), "ray": set(ray.taken)} == {"celery": set(), "ray": set()} | {
        goes_to: names(job)
    }


@pytest.mark.parametrize("wish", ["auto", "ray"])
async def test_ray_may_no_longer_run_the_workload(wish: EngineChoice) -> None:
    """A job was routed to Ray before the setting was changed: its chunks go to Celery, those of others do not."""
    celery, ray = Engine(), Engine()
    prompts, rows = chunks("ray", workload="claude", engine=wish), chunks("ray", workload="python")
    outcome = await dispatcher(celery, ray, "python").dispatch(0, [*prompts, *rows])
    assert outcome.taken == names(prompts, rows)
    assert (set(celery.taken), set(ray.taken)) == (names(prompts), names(rows))


async def test_ray_is_in_trouble_and_celery_is_down() -> None:
    """The chunks wait; nothing is lost. Celery is asked once for all of them."""
    celery = Engine(down=True)
    both = [*chunks(), *chunks("ray")]
    outcome = await dispatcher(celery, Engine(trouble="Ray does not answer")).dispatch(0, both)
    assert not outcome.taken
    assert set(outcome.closed) == {"celery", "ray"}
    assert celery.asked == 1


def memory_of(**jobs: Chunks) -> Memory[JobState]:
    """What an owner knows of these jobs, none of whose chunks was sent; there is room for two of each lane."""
    return Memory(
        guard=Guard("", "", ""),
        position=0,
        caught_up_at=0,
        marked_ahead=frozenset(),
        states={job_id: job[0][0] for job_id, job in jobs.items()},
        was_ready=True,
        loaded_at=0.0,
        agenda=Agenda(),
        window=DispatchWindow(2, claim_timeout=60.0),
    )


def due_of(job_id: str, job: Chunks) -> list[DispatchDue]:
    """Its chunks under another id."""
    return [replace(due, chunk=replace(due.chunk, job_id=job_id)) for _, due in job]


async def fill(sending: Sender[JobState], memory: Memory[JobState], **jobs: Chunks) -> None:
    """A step that asks each of these jobs what is due, as a sweep does."""
    for job_id, job in jobs.items():
        sending.await_room(memory, job_id, due_of(job_id, job))
    await sending.fill(memory)


def sender(to: Dispatcher[JobState], clock: Clock | None = None) -> Sender[JobState]:
    """Of the first partition."""
    clock = clock or SystemClock()
    return Sender(to, OwnTrouble("jobs.history", clock), partition=0, clock=clock)


async def test_who_asked_for_ray_keeps_nobody_waiting() -> None:
    """A job that waits for Ray fills a window of its own: one behind it, which may run anywhere, goes to Celery."""
    celery, ray = Engine(), Engine(trouble="Ray does not answer")
    asked, anywhere = chunks("ray", engine="ray"), chunks("ray")
    jobs = {"asked": asked, "anywhere": anywhere}
    await fill(sender(dispatcher(celery, ray)), memory_of(**jobs), **jobs)
    assert len(ray.taken) == 2
    assert len(celery.taken) == 2


@dataclass
class Tripping:
    """Trips over more than one chunk; with one alone it finds that the engine does not answer, which takes long."""

    asked: list[str] = field(default_factory=list)

    def rank(self, state: JobState) -> Rank:
        """Those that came first are first."""
        return Rank(0, state.first_offset)

    async def dispatch(self, partition: int, chunks: Sequence[tuple[JobState, DispatchDue]]) -> None:
        """Fail."""
        assert partition == 0
        if len(chunks) > 1:
            raise ValueError("one of them trips this")
        self.asked += [due.lane for _, due in chunks]
        raise RetryableError("no answer")


async def test_an_engine_that_does_not_answer_is_asked_once() -> None:
    """Also where chunks are sent one by one, since the dispatcher trips over one of them."""
    tripping = Tripping()
    jobs = {"one": chunks(), "other": chunks("ray")}
    await fill(sender(tripping), memory_of(**jobs), **jobs)
    assert sorted(tripping.asked) == ["celery", "ray"]


async def test_a_job_that_cannot_be_sent_keeps_nobody_waiting() -> None:
    """It has more chunks than can be tried in the second after which the first of them is tried again."""
    celery, clock = Engine(), MovedClock()
    jobs = {"strange": chunks(items=100, workload="acme_plugin", priority="interactive"), "known": chunks()}
    memory = memory_of(**jobs)
    sending = sender(dispatcher(celery, Engine()), clock)
    for _ in range(20):
        await fill(sending, memory, **jobs)
        clock.seconds += 0.25
    assert len(celery.taken) == 2


async def test_what_a_closed_lane_refused_is_sent_in_its_order_later() -> None:
    """Nothing is asked of its engine until the rest is over, and no sweep is needed then."""
    celery, clock = Engine(down=True), MovedClock()
    jobs = {"job": chunks(items=4)}
    memory, sending = memory_of(**jobs), sender(dispatcher(celery, Engine()), clock)
    await fill(sending, memory, **jobs)
    celery.down = False
    await sending.fill(memory)
    assert celery.asked == 1
    clock.seconds += 1.5
    await sending.fill(memory)
    assert celery.taken == [str(due.chunk) for due in due_of("job", jobs["job"])[:2]]


async def test_what_was_sent_does_not_wait() -> None:
    """The next sweep finds it due, in the window; a job that has ended leaves the room."""
    celery = Engine()
    jobs = {"job": chunks(items=3)}
    memory, sending = memory_of(**jobs), sender(dispatcher(celery, Engine()))
    await fill(sending, memory, **jobs)
    await fill(sending, memory, **jobs)
    assert len(celery.taken) == 2
    assert "job" in memory.waiting
    memory.settle("job")
    assert "job" not in memory.waiting


async def test_a_tenant_with_nothing_at_the_engine_goes_ahead() -> None:
    """The window is full of another one's chunks: one chunk goes before them, no second one, and none for nothing."""
    celery = Engine()
    jobs = {"crowd": chunks(items=9, tenant="crowd"), "other": chunks(items=3, tenant="other")}
    memory, sending = memory_of(**jobs), sender(dispatcher(celery, Engine()))
    await fill(sending, memory, crowd=jobs["crowd"])
    assert celery.priorities == [2, 3], "it had nothing there either"
    await fill(sending, memory, crowd=jobs["crowd"])
    assert len(celery.taken) == 2, "the window is full"
    await fill(sending, memory, **jobs)
    await fill(sending, memory, **jobs)
    (ahead,) = celery.taken[2:]
    assert ahead == str(due_of("other", jobs["other"])[0].chunk)
    assert celery.priorities[2:] == [2]
    memory.window.drop([ahead], SystemClock().monotonic())
    others = {"other": jobs["other"][1:]}
    await fill(sending, memory, crowd=jobs["crowd"], **others)
    assert celery.taken[3:] == [str(due_of("other", jobs["other"])[1].chunk)]


async def test_two_jobs_of_a_tenant_do_not_both_go_ahead() -> None:
    """Both wait when neither has anything at the engine: the second one comes by turns, once there is room."""
    celery = Engine()
    jobs = {
        "crowd": chunks(items=9, tenant="crowd"),
        "one": chunks(items=1, tenant="other"),
        "two": chunks(items=1, tenant="other"),
    }
    memory, sending = memory_of(**jobs), sender(dispatcher(celery, Engine()))
    await fill(sending, memory, crowd=jobs["crowd"])
    await fill(sending, memory, one=jobs["one"], two=jobs["two"])
    assert len(celery.taken) == 3
    for _ in range(2):
        memory.window.drop([chunk for chunk in celery.taken if "crowd" in chunk], SystemClock().monotonic())
        await sending.fill(memory)
    second = str(due_of("two", jobs["two"])[0].chunk)
    assert second in celery.taken
    assert celery.priorities[celery.taken.index(second)] == 3


@pytest.mark.parametrize(("priority", "at_celery"), [("interactive", 0), ("batch", 5)])
async def test_priorities_decide_before_tenants(priority: str, at_celery: int) -> None:
    """What goes ahead is still after all that is more urgent."""
    celery = Engine()
    job = chunks(items=1, tenant="other", priority=priority)
    await fill(sender(dispatcher(celery, Engine())), memory_of(job=job), job=job)
    assert celery.priorities == [at_celery]
