"""The dispatcher of jobs: groups of chunks fail apart from each other, and what was taken is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from eldermesh.contract.vocabulary import EngineChoice
from services.router.dispatching import JobDispatcher
from services.router.engines.chunk_task import ChunkTask
from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.errors import RetryableError
from shared.events import JobRouted
from shared.history.machine import DispatchDue
from shared.history.ports import SystemClock
from shared.workloads import Queue, WorkloadRegistry
from tests.unit.jobs.story import T0, Story, accepted

Chunks = list[tuple[JobState, DispatchDue]]


@dataclass
class Engine:
    """An engine that notes what it takes; `down` while it does not answer, `trouble` while it is better left alone."""

    down: bool = False
    trouble: str | None = None
    taken: list[str] = field(default_factory=list)
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


def chunks(where: Any = "celery", **terms: Any) -> Chunks:
    """The two chunks of a job that was routed."""
    story = Story()
    story.tell(accepted(2, **terms), JobRouted(n=0, engine=where, chunk_items=1, policy="static"))
    due = JobMachine().due(story.job, T0)
    return [(story.job, entry) for entry in due if isinstance(entry, DispatchDue)]


def names(*groups: Chunks) -> set[str]:
    """Identities of chunks."""
    return {str(due.chunk) for group in groups for _, due in group}


def dispatcher(celery: Engine, ray: Engine) -> JobDispatcher:
    """The dispatcher, with the workloads that are installed."""
    return JobDispatcher("jobs.history", celery, ray, WorkloadRegistry.installed(), SystemClock())


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


async def test_ray_is_in_trouble_and_celery_is_down() -> None:
    """The chunks wait; nothing is lost."""
    outcome = await dispatcher(Engine(down=True), Engine(trouble="Ray does not answer")).dispatch(0, chunks("ray"))
    assert not outcome.taken
    assert set(outcome.closed) == {"ray"}
