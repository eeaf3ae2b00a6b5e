"""What facts say of the time that items take, and what follows from many of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.router.jobs.fold import fold_job
from services.router.jobs.observation import Kind, Observation
from services.router.policy.adaptive.evidence import NEWEST, known_of, newest
from shared.facts.fact import ChunkTimes
from shared.facts.jobs import FactResult, ItemsCompleted
from shared.history.facts import FactRecord
from shared.history.machine import Measurement
from tests.unit.jobs.story import T0, Story, accepted, failed, results, succeeded

TIMES = ChunkTimes(dispatched_at=T0, claimed_at=T0 + 5, started_at=T0 + 20, ended_at=T0 + 1020)
KIND = Kind("python", "math:sqrt")


def measured(fact: ItemsCompleted, subject: str | None = "math:sqrt") -> tuple[Measurement, ...]:
    """By the fold of a job of ten items."""
    story = Story()
    story.tell(accepted(10, subject=subject))
    record = FactRecord(9, T0 + 2000, story.job.job_id, fact.fact_type, fact.encode())
    return fold_job(story.job, record).measurements


def test_items_that_ended_are_measured() -> None:
    """By the slot's time, not by that of the items, which may have run at once."""
    (seen,) = measured(results(*map(succeeded, range(5))).model_copy(update={"times": TIMES}))
    assert seen.name == KIND.quantity("celery") == "celery python math:sqrt"
    assert Observation.parse(seen.value) == Observation(T0 + 2000, 0.2, 0.0, 0.015)


def test_only_the_first_item_of_a_chunk_says_how_long_it_waited() -> None:
    """What comes later has waited for the items before it."""
    (seen,) = measured(results(*map(succeeded, range(1, 5))).model_copy(update={"times": TIMES}))
    assert Observation.parse(seen.value).wait_seconds is None


def test_items_of_which_nothing_is_learned() -> None:
    """Many run at once, or an earlier release has accepted the job and did not say what it is about."""
    fact = results(succeeded(1)).model_copy(update={"times": TIMES})
    assert measured(fact, subject=None) == ()
    assert len(measured(fact, subject="")) == 1


def test_uneven_items_are_told() -> None:
    """The spread is that of the items' own durations."""
    uneven = [replace_duration(succeeded(index), 100 * index) for index in range(1, 6)]
    (seen,) = measured(results(*uneven).model_copy(update={"times": TIMES}))
    assert Observation.parse(seen.value).spread == pytest.approx(0.471, abs=0.001)


def replace_duration(result: FactResult, milliseconds: int) -> FactResult:
    """The same result after another time."""
    return result.model_copy(update={"duration_ms": milliseconds})


@pytest.mark.parametrize(
    "fact",
    [
        results(succeeded(1)),
        results(failed(1)).model_copy(update={"times": TIMES}),
        results(succeeded(99)).model_copy(update={"times": TIMES}),
        results(succeeded(1)).model_copy(update={"times": TIMES.model_copy(update={"ended_at": T0})}),
        results(succeeded(1)).model_copy(update={"times": TIMES.model_copy(update={"claimed_at": T0 + 9999})}),
    ],
    ids=["no times", "all failed", "no item of the job", "the clock went back", "the clock went back before"],
)
def test_what_says_nothing_of_items_is_not_measured(fact: ItemsCompleted) -> None:
    """Nor what does not count."""
    assert measured(fact) == ()


def test_results_count_once() -> None:
    """Delivered again, they are no observation."""
    story = Story()
    story.tell(accepted(10, subject="math:sqrt"))
    fact = results(succeeded(1)).model_copy(update={"times": TIMES})
    story.tell(fact)
    record = FactRecord(9, T0 + 2000, story.job.job_id, fact.fact_type, fact.encode())
    assert fold_job(story.job, record).measurements == ()


def test_the_newest_of_all_partitions_count() -> None:
    """Whatever partition they come from, and in the order of their times."""
    observed = [Observation(T0 + at, 0.01, None, 0.0) for at in range(2 * NEWEST)]
    even, odd = (" ".join(each.text() for each in reversed(observed[first::2])).encode() for first in (0, 1))
    assert newest([odd, None, even]) == observed[-NEWEST:]


@pytest.mark.parametrize(
    "bad", [b"", b"x", b"1:2", b"1:inf::0", b"1:nan::0", b"1:-1::0", b"a:1::", b"1:1:x:0", b"\xff:1::", b"1:1::0:new"]
)
def test_what_cannot_be_read_is_passed_over(bad: bytes) -> None:
    """It costs itself alone; what a later release has added does not make it unreadable."""
    good = Observation(T0, 0.01, None, None)
    found = newest([b" ".join((bad, good.text().encode(), bad))])
    assert good in found
    assert known_of({"celery": found}).costs["celery"].seconds > 0
    assert (len(found) == 3) == (bad == b"1:1::0:new")


def test_what_is_known_follows_from_them_alone() -> None:
    """Two routers that read the same know the same."""
    slow = [Observation(T0 + at, 0.2, 0.5, 1.0 if at else 0.01) for at in range(10)]
    fast = [replace(each, at_ms=each.at_ms + 100, item_seconds=0.1) for each in slow]
    known = known_of({"celery": slow, "ray": fast})
    assert known == known_of({"ray": list(fast), "celery": list(slow)})
    assert known.costs["celery"].seconds == pytest.approx(0.2)
    assert known.costs["ray"].seconds == pytest.approx(0.1)
    assert known.costs["ray"].spread == pytest.approx(0.5)
    assert known.last == "ray"
    assert known_of({"celery": (), "ray": ()}).last is None


def test_a_wait_behind_others_is_not_the_engines() -> None:
    """A low quantile of the waits is what the engine takes to begin."""
    waits = [0.01] * 3 + [5.0] * 7
    seen = [Observation(T0 + at, 0.2, None, wait) for at, wait in enumerate(waits)]
    assert known_of({"celery": seen}).waits == {"celery": 0.01}
