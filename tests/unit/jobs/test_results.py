"""Results: each item once, sequences without gaps, costs once, and an end that is built once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import rfc8785

from eldermesh.contract.canonical import canonical_bytes
from services.router.jobs.end import ended
from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.facts.jobs import JobRouted
from shared.history.machine import EndDue
from tests.unit.jobs.story import JOB, T0, TRACE_ID, Story, accepted, cancel, failed, results, succeeded

ROUTED = JobRouted(n=0, engine="celery", chunk_items=2, policy="static")
MACHINE = JobMachine()


def routed_job(items: int = 4, **terms: Any) -> Story:
    """A job that runs."""
    story = Story()
    story.tell(accepted(items, **terms), ROUTED)
    return story


def progress(story: Story) -> list[dict[str, Any]]:
    """The progress records that the facts called for."""
    return [orjson.loads(folded.progress.value) for folded in story.folded if folded.progress is not None]


def test_a_progress_record_is_the_contracts() -> None:
    """Every field is there, in canonical form; what does not apply is null."""
    story = routed_job()
    folded = story.tell(results(succeeded(1, {"b": 1, "a": [1.5]}, micros=2500), failed(0)), at=7)
    assert folded.progress is not None
    assert (folded.progress.topic, folded.progress.key) == ("jobs.progress", JOB)
    record = orjson.loads(folded.progress.value)
    assert folded.progress.value == canonical_bytes(record)
    assert record == {
        "job_id": JOB,
        "sequence": 1,
        "stage_index": 0,
        "epoch": 1,
        "engine": "celery",
        "worker_id": "w",
        "items_ended": 2,
        "recorded_at": "2026-09-21T14:13:20.007Z",
        "trace_id": TRACE_ID,
        "results": [
            {
                "item_index": 1,
                "status": "succeeded",
                "output": {"b": 1, "a": [1.5]},
                "output_url": None,
                "error_type": None,
                "error_message": None,
                "attempt": 1,
                "duration_seconds": 1.5,
                "cost_usd": 0.0025,
            },
            {
                "item_index": 0,
                "status": "failed",
                "output": None,
                "output_url": None,
                "error_type": "exception",
                "error_message": "no",
                "attempt": 1,
                "duration_seconds": None,
                "cost_usd": None,
            },
        ],
    }
    headers = dict(folded.progress.headers)
    assert headers["ce_id"] == f"{JOB}:progress:1".encode()
    assert headers["ce_subject"] == JOB.encode()
    assert headers["tracestate"] == b"a=b"


@pytest.mark.parametrize(("milliseconds", "text"), [(0, b"0"), (1, b"0.001"), (1000, b"1"), (1500, b"1.5")])
def test_durations_are_written_in_one_form(milliseconds: int, text: bytes) -> None:
    """That of the canonical form, whichever way they were computed: a rebuild publishes the same bytes."""
    folded = routed_job().tell(results(succeeded(1).model_copy(update={"duration_ms": milliseconds})))
    assert folded.progress is not None
    assert b'"duration_seconds":' + text + b"," in folded.progress.value
    assert text == rfc8785.dumps(milliseconds / 1000)


def test_the_first_result_of_an_item_wins() -> None:
    """Within one fact, and over facts; only what is new is published, and a fact without news publishes nothing."""
    story = routed_job(max_failed_items=4)
    story.tell(results(succeeded(0, "first"), succeeded(0, "second")))
    story.tell(results(succeeded(0, "third"), failed(1)))
    assert story.tell(results(succeeded(0, "fourth"), succeeded(1))).progress is None
    shown = [
        (record["sequence"], [(r["item_index"], r["output"]) for r in record["results"]]) for record in progress(story)
    ]
    assert shown == [(1, [(0, "first")]), (2, [(1, None)])]
    assert (story.job.succeeded, story.job.failed, story.job.sequence) == (1, 1, 2)


def test_results_of_an_old_epoch_count() -> None:
    """And finish the chunk that holds their items now."""
    story = routed_job()
    story.tell(results(succeeded(0), succeeded(1), epoch=0))
    assert [(chunk.first, chunk.last) for chunk in story.plan] == [(2, 3)]


@pytest.mark.parametrize("strange", [results(succeeded(7)), results(succeeded(-1)), results(succeeded(0), stage=1)])
def test_items_that_are_none_of_the_jobs_are_nothing(strange: Any) -> None:
    """Beyond the last, before the first, of another stage."""
    story = routed_job()
    before = story.untouched
    assert story.tell(strange).progress is None
    assert story.untouched == before


def test_results_without_items_counted_are_nothing() -> None:
    """A job whose items nobody has counted has none."""
    story = Story()
    story.tell(accepted(None))
    assert story.tell(results(succeeded(0))).progress is None


def test_completed_when_all_items_are_in() -> None:
    """Failures up to `max_failed_items` are fine; the end comes with the fact that brings the last item."""
    story = routed_job(max_failed_items=1)
    story.tell(results(succeeded(0), succeeded(1)))
    folded = story.tell(results(failed(2), succeeded(3)), at=2500)
    assert folded.progress is not None
    assert story.end["status"] == "completed"
    assert (story.end["items_succeeded"], story.end["items_failed"], story.end["items_not_run"]) == (3, 1, 0)
    assert (story.end["progress_records_total"], story.end["active_seconds"], story.end["engine"]) == (2, 2.5, "celery")
    assert story.end["error_type"] is None


def test_failed_at_the_fact_that_brings_one_failure_too_many() -> None:
    """The whole fact counts; what has not ended by then is not run."""
    story = routed_job(max_failed_items=1)
    story.tell(results(failed(0), failed(1), succeeded(2)))
    assert (story.end["status"], story.end["error_type"]) == ("failed", "too_many_failures")
    assert (story.end["items_succeeded"], story.end["items_failed"], story.end["items_not_run"]) == (1, 2, 1)


def test_failed_when_it_costs_too_much() -> None:
    """Above the limit, with items left; a job whose last item breaks the limit is completed."""
    story = routed_job(max_cost_micros=100)
    story.tell(results(succeeded(0, micros=100)))
    assert story.job.is_live
    story.tell(results(succeeded(1, micros=1)))
    assert (story.end["error_type"], story.end["cost_usd"], story.end["items_not_run"]) == ("budget", 0.000101, 2)

    story = routed_job(1, max_cost_micros=100)
    story.tell(results(succeeded(0, micros=500)))
    assert story.end["status"] == "completed"


def test_a_cost_counts_once_for_each_item_epoch_and_attempt() -> None:
    """Twice in one fact and a fact written twice count once; a second attempt and another epoch cost again."""
    story = routed_job()
    twice = results(succeeded(0, micros=10), succeeded(0, micros=10))
    story.tell(twice, twice)
    assert story.job.cost_micros == 10
    story.tell(results(succeeded(0, attempt=2, micros=20)), results(succeeded(0, micros=40), epoch=2))
    assert story.job.cost_micros == 70


def test_the_end_keeps_the_cost_as_of_then() -> None:
    """Later costs change the state's own sum, not the end."""
    story = routed_job()
    story.tell(results(succeeded(0, micros=10)), cancel())
    value = story.job.end
    story.tell(results(succeeded(1, micros=90)))
    assert story.job.cost_micros == 100
    assert story.end["cost_usd"] == 0.00001
    assert story.job.end == value


def test_the_end_record_is_the_contracts() -> None:
    """Canonical bytes, the id of the one end, and the mark that repeats it."""
    story = routed_job(labels={"team": "core"})
    story.tell(cancel("no"), at=1234)
    job = story.job
    assert job.end is not None
    (due,) = MACHINE.due(job, T0)
    assert isinstance(due, EndDue)
    assert due.publication.value == canonical_bytes(story.end)
    assert set(story.end) == {
        *("job_id", "status", "tenant", "workload", "labels", "engine", "items_total", "items_succeeded"),
        *("items_failed", "items_not_run", "progress_records_total", "error_type", "reason", "accepted_at", "ended_at"),
        *("active_seconds", "cost_usd", "trace_id"),
    }
    headers = dict(due.publication.headers)
    assert headers["ce_id"] == f"{JOB}:end".encode()
    assert headers["ce_type"] == b"eldermesh.job.cancelled.v1"
    assert headers["ce_time"] == b"2026-09-21T14:13:21.234Z"
    assert orjson.loads(due.mark.value)["end"] == job.end.value


def test_what_was_never_accepted_has_no_end() -> None:
    """It would be a mistake of ours."""
    with pytest.raises(ValueError, match="never accepted"):
        ended(JobState(JOB, t=T0, first_offset=0, last_offset=0), "failed")


def test_folding_twice_gives_the_same_bytes() -> None:
    """Publications and states are functions of the facts."""

    def tell() -> Story:
        story = routed_job(max_failed_items=1)
        story.tell(results(succeeded(0, {"π": 1e21}), failed(1)), at=5)
        story.tell(results(succeeded(2, "ü"), succeeded(3)), at=3)
        return story

    first, second = tell(), tell()
    assert [folded.progress for folded in first.folded] == [folded.progress for folded in second.folded]
    assert first.state == second.state


@pytest.mark.parametrize(("content", "counts"), [("one", True), (None, True), ("another", False)])
def test_results_of_another_job_of_the_same_id_are_strays(content: str | None, counts: bool) -> None:  # noqa: FBT001
    """A run outlived its log; in the new one somebody submitted other content under its id: nothing of it counts."""
    story = Story()
    story.tell(accepted(2))
    before = story.untouched
    folded = story.tell(results(succeeded(0, micros=5)).model_copy(update={"content_hash": content}))
    assert (folded.progress is not None) is counts
    assert (story.untouched != before) is counts
