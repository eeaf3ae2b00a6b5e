"""Where a job's time went: segments from facts alone, which sum to the total."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator

import pytest

from services.router.read_model.time_segments import Explanation, TimeAccount, first_error
from shared.facts.fact import Fact, InboxRecord, TimerFired
from shared.facts.jobs import (
    FactResult,
    ItemsCompleted,
    JobCancelRequested,
    JobDecided,
    JobEnded,
    JobHeld,
    JobPaused,
    JobReplanned,
    PlannedChunk,
)
from shared.history.facts import FactRecord
from tests.unit.cli.job_facts import T0, accepted, completed, log_of, routed

JOB = "0b8a3b0e-54a7-4d53-9a0c-0a3a2f6f9d10"
SUBMIT = {"workload": "python", "options": {"function": "math:sqrt"}, "items": [1, 4, 9, 16]}
INBOX = InboxRecord(topic="jobs.decisions", partition=0, offset=7)


def _ended(at: int, status: str = "completed") -> JobEnded:
    return JobEnded(
        content_hash="", event_type=f"eldermesh.job.{status}.v1", ended_at=at, end="{}", traceparent="00-0-0-01"
    )


def _explain(*facts: tuple[int, Fact], now: int = T0 + 999_999, is_running: bool = False) -> Explanation:
    explanation = _account(*facts).explanation(now_ms=now, is_running=is_running)
    assert explanation is not None
    return explanation


def _account(*facts: tuple[int, Fact]) -> TimeAccount:
    account = TimeAccount()
    for record in log_of(JOB, *facts):
        account.add(record)
    return account


def _lengths(explanation: Explanation) -> dict[str, int]:
    assert sum(segment.length_ms for segment in explanation.segments) == explanation.total_ms
    return {segment.name: segment.length_ms for segment in explanation.segments}


def test_a_job_that_just_ran() -> None:
    """Each stretch of a plain job has its own name; two runs at once count once."""
    explanation = _explain(
        (T0 + 10, accepted(JOB, SUBMIT)),
        (T0 + 30, routed()),
        (T0 + 500, completed(JOB, 0, 1, times=(T0 + 35, T0 + 80, T0 + 490))),
        (T0 + 800, completed(JOB, 2, 3, times=(T0 + 35, T0 + 400, T0 + 790))),
        (T0 + 805, _ended(T0 + 800)),
    )

    assert _lengths(explanation) == {"admission": 10, "decision": 20, "queue": 50, "run": 720, "end": 5}
    assert explanation.has_ended
    assert explanation.items_not_run == 0


def test_time_without_a_runner_is_queue() -> None:
    """Between a run that ended and the next claim nobody worked: a dead runner's time, with its re-plan, is no run."""
    explanation = _explain(
        (T0, accepted(JOB, SUBMIT)),
        (T0, routed()),
        (T0 + 100, completed(JOB, 0, 1, times=(T0, T0, T0 + 100))),
        (T0 + 15_000, _replanned()),
        (T0 + 15_200, completed(JOB, 2, 3, epoch=2, times=(T0 + 15_000, T0 + 15_050, T0 + 15_200))),
        (T0 + 15_200, _ended(T0 + 15_200)),
    )

    assert _lengths(explanation) == {"queue": 14_950, "run": 250}


def _replanned() -> JobReplanned:
    chunks = (PlannedChunk(first=2, last=3, deaths=1),)
    return JobReplanned(n=1, epoch=2, replaced=(f"{JOB}/0/1/2-3",), chunks=chunks)


def test_hold_and_pause_are_their_own() -> None:
    """Waiting for a person and for quota are neither decision nor queue."""
    explanation = _explain(
        (T0, accepted(JOB, SUBMIT)),
        (T0 + 5, JobHeld(n=0, reason="writes files", until=T0 + 60_000)),
        (T0 + 9_005, JobDecided(inbox=INBOX, original="{}", decision="approve", by="ada")),
        (T0 + 9_010, routed(1)),
        (T0 + 9_020, JobPaused(reason="quota", until=T0 + 12_020)),
        (T0 + 12_020, TimerFired(timer_id=f"{JOB}:pause:1")),
        (T0 + 12_100, completed(JOB, 0, 3, times=(T0 + 12_020, T0 + 12_030, T0 + 12_100))),
        (T0 + 12_101, _ended(T0 + 12_100)),
    )

    assert _lengths(explanation) == {"decision": 10, "hold": 9_000, "pause": 3_000, "queue": 20, "run": 70, "end": 1}


def test_what_did_not_count_does_not_count_here() -> None:
    """A hold that came after the routing is void for the fold, so no time is called a hold."""
    explanation = _explain(
        (T0, accepted(JOB, SUBMIT)),
        (T0 + 5, routed()),
        (T0 + 6, JobHeld(n=1, reason="late", until=T0 + 60_000)),
        (T0 + 50, JobCancelRequested(inbox=INBOX)),
        (T0 + 52, _ended(T0 + 50, "cancelled")),
    )

    assert _lengths(explanation) == {"decision": 5, "queue": 45, "end": 2}
    assert explanation.items_not_run == 4


@pytest.mark.parametrize(("is_running", "name"), [(True, "run"), (False, "queue")])
def test_a_job_that_goes_on_counts_until_now(is_running: bool, name: str) -> None:  # noqa: FBT001 - a table of cases
    """What no fact tells yet, a claim does: the time since the last fact is a run if a runner holds a chunk."""
    explanation = _explain((T0, accepted(JOB, SUBMIT)), (T0 + 5, routed()), now=T0 + 2_005, is_running=is_running)

    assert _lengths(explanation) == {"decision": 5, name: 2_000}
    assert not explanation.has_ended
    assert explanation.items_not_run is None


def test_clocks_that_disagree() -> None:
    """A submit stamped after its acceptance and a claim stamped after its result take no time from others."""
    explanation = _explain(
        (T0 + 10, accepted(JOB, SUBMIT, submitted_at=T0 + 5_000)),
        (T0 + 20, routed()),
        (T0 + 30, completed(JOB, 0, 3, times=(T0 + 9_000, T0 + 9_001, T0 + 9_002))),
        (T0 + 31, _ended(T0 + 30)),
    )

    assert _lengths(explanation) == {"decision": 10, "queue": 10, "end": 1}


@pytest.mark.parametrize(
    "facts",
    [
        [],
        [(T0, JobCancelRequested(inbox=INBOX))],
        [(T0, _ended(T0))],
    ],
    ids=["no facts", "a stub", "only the end is left"],
)
def test_nothing_to_explain(facts: list[tuple[int, Fact]]) -> None:
    """Without the acceptance there is no beginning to count from."""
    assert _account(*facts).explanation(now_ms=T0, is_running=False) is None


def test_always_sums() -> None:
    """Whatever facts come at whatever times (seed 4), the segments sum to the total and none is negative."""
    source = random.Random(4)
    for _ in range(300):
        times = itertools.accumulate(source.randint(-5, 50) for _ in itertools.count())
        middle: list[Fact] = [
            routed(source.randint(0, 1)),
            JobHeld(n=0, reason="r", until=T0 + 10_000),
            JobDecided(inbox=INBOX, original="{}", decision="approve", by="ada"),
            JobPaused(reason="q", until=T0 + 40),
            TimerFired(timer_id=f"{JOB}:pause:1"),
            *(
                completed(JOB, at, at, times=(T0, T0 + source.randint(-50, 400), T0 + source.randint(-50, 400)))
                for at in range(4)
            ),
        ]
        source.shuffle(middle)
        facts = [accepted(JOB, SUBMIT, submitted_at=T0 - source.randint(-20, 20)), *middle]
        explanation = _explain(*((T0 + next(times), fact) for fact in facts), is_running=source.random() < 0.5)

        assert all(segment.length_ms > 0 for segment in explanation.segments)
        _lengths(explanation)


def test_the_items_worth_a_look() -> None:
    """The one that ran longest, and the first that failed; of an item that came twice the first result counts."""

    def results(*each: FactResult) -> ItemsCompleted:
        return completed(JOB, 0, 0).model_copy(update={"results": each})

    explanation = _explain(
        (T0 + 10, accepted(JOB, SUBMIT)),
        (T0 + 30, routed()),
        (T0 + 500, results(FactResult(item_index=0, status="succeeded", duration_ms=7))),
        (T0 + 600, results(FactResult(item_index=2, status="failed", duration_ms=90, error_message="no"))),
        (T0 + 700, results(FactResult(item_index=0, status="failed", duration_ms=900))),
        (T0 + 800, results(FactResult(item_index=1, status="failed", duration_ms=None))),
    )
    assert explanation.slowest is not None
    assert explanation.first_error is not None
    assert explanation.slowest.item_index == 2
    assert (explanation.first_error.item_index, explanation.first_error.error_message) == (2, "no")


CRASH = completed(JOB, 2, 2, failed=True)
CRASH_OF_A_LIVE_RUN = CRASH.model_copy(update={"chunk_id": f"{JOB}/0/1/2-3", "only_if_current": True})
NOT_COUNTED: dict[str, list[Fact]] = {
    "a crash that the owner reported of a run that was alive": [_replanned(), CRASH_OF_A_LIVE_RUN],
    "after a cancel": [JobCancelRequested(inbox=INBOX), CRASH],
    "of another job": [CRASH.model_copy(update={"content_hash": "f" * 64})],
    "of another stage": [CRASH.model_copy(update={"stage_index": 1})],
    "of no item": [completed(JOB, 4, 4, failed=True)],
}


@pytest.mark.parametrize("facts", NOT_COUNTED.values(), ids=NOT_COUNTED)
async def test_results_that_did_not_count_are_not_worth_a_look(facts: list[Fact]) -> None:
    """Neither the failed item nor the slowest is one whose result the job's fold did not take."""
    timed = [(T0 + n, fact) for n, fact in enumerate([accepted(JOB, SUBMIT), routed(), *facts])]

    explanation = _explain(*timed)

    assert (explanation.first_error, explanation.slowest) == (None, None)
    assert await first_error(_streamed(log_of(JOB, *timed))) is None


async def test_the_first_error_needs_no_later_fact() -> None:
    """Neither those behind it, nor whether it ended the job."""
    log = log_of(JOB, (T0, accepted(JOB, SUBMIT)), (T0, routed()), (T0, CRASH))

    found = await first_error(_streamed([*log, FactRecord(3, T0, JOB, "items.completed", b"no fact")]))

    assert found is not None
    assert (found.item_index, found.error_message) == (2, "it broke")


async def _streamed(records: list[FactRecord]) -> AsyncIterator[FactRecord]:
    for record in records:
        yield record
