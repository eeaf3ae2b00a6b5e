"""The texts of lessons, their confidence and their order."""

from __future__ import annotations

from services.sages.curated_notes import FittingNote
from services.sages.lessons import MAX_LESSONS, Lesson, lessons_of
from services.sages.past_jobs.likeness_table import LikeJob
from services.sages.sage import fitting


def _job(job_id: str, status: str = "failed", *, alike: float = 1.0, error: str | None = "timeout") -> LikeJob:
    reason = "no result after 600 s" if status == "failed" else None
    return LikeJob(job_id, alike, status, error if status == "failed" else None, reason, 600.0, None, None)


def test_one_job_that_failed() -> None:
    """Who, how and why, with half the confidence that many jobs would give."""
    (lesson,) = lessons_of("claude", [_job("j1")], [])
    assert lesson == Lesson(
        "a similar `claude` job failed after 600 s: timeout; no result after 600 s", "j1", confidence=0.5
    )


def test_confidence_rises_with_number_and_agreement_and_likeness() -> None:
    """K / (n + 1) times the mean likeness."""
    four_of_four = lessons_of("claude", [_job(f"j{number}") for number in range(4)], [])[0]
    three_of_four = lessons_of("claude", [*(_job(f"j{n}") for n in range(3)), _job("j3", "completed")], [])
    less_alike = lessons_of("claude", [_job(f"j{number}", alike=0.5) for number in range(4)], [])[0]
    assert four_of_four.confidence == 0.8
    assert [(each.source, each.confidence) for each in three_of_four] == [("j0", 0.6), ("j3", 0.2)]
    assert three_of_four[0].text.startswith("3 of 4 similar `claude` jobs failed")
    assert less_alike.confidence == 0.4


def test_what_warns_comes_first() -> None:
    """A success, however sure, comes behind failures and notes; at most five are said."""
    jobs = [_job(f"good{number}", "completed") for number in range(9)] + [_job("bad")]
    notes = [FittingNote(f"n{number}", "take care", number + 1) for number in range(5)]

    lessons = lessons_of("claude", jobs, notes)

    assert len(lessons) == MAX_LESSONS
    assert [each.source for each in lessons] == ["n4", "n3", "n2", "n1", "n0"]
    assert lessons[0].confidence == 0.75
    assert [each.source for each in lessons_of("claude", jobs, [])] == ["bad", "good0"]


def test_items_errors_and_other_ends() -> None:
    """The item's own error is named; a job that was cancelled was cancelled."""
    failed = LikeJob("j1", 1.0, "failed", "too_many_failures", None, None, "exception", "no such table")
    assert lessons_of("python", [failed], [])[0].text == (
        "a similar `python` job failed: too_many_failures; an item failed with exception (no such table)"
    )
    cancelled = [_job(f"j{number}", "cancelled") for number in range(2)]
    assert lessons_of("python", cancelled[:1], [])[0].text == "a similar `python` job was cancelled"
    assert lessons_of("python", cancelled, [])[0].text == "2 of 2 similar `python` jobs were cancelled"
    assert fitting([Lesson("x" * 100, "s", 0.5)] * 3, 300) == [Lesson("x" * 100, "s", 0.5).as_json()] * 2
