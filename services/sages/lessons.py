"""Lessons: short texts about what happened to similar jobs and what people noted, with a confidence.

Confidence is between 0 and 1. If `n` jobs are like the new one and `k` of them ended in the same way, the lesson from
those `k` has the confidence `k / (n + 1)` times their mean likeness. It rises with their number, their agreement and
their likeness. The confidence of a note that shares `m` words with the job is `0.9 * m / (m + 1)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from pydantic import JsonValue

from services.sages.curated_notes import FittingNote
from services.sages.past_jobs.likeness_table import LikeJob

MAX_LESSONS: Final = 5
NOTE_CONFIDENCE: Final = 0.9
"""The limit of a note's confidence: people wrote it, but not for this job."""

_TEXT_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Lesson:
    """A lesson; `source` is the id of the job or the note that it comes from."""

    text: str
    source: str
    confidence: float
    warns: bool = True
    """Whether it says more than that the jobs completed."""

    def as_json(self) -> dict[str, JsonValue]:
        """As it stands in the advice."""
        return {"text": self.text, "source": self.source, "confidence": self.confidence}


def lessons_of(workload: str, jobs: Sequence[LikeJob], notes: Sequence[FittingNote]) -> list[Lesson]:
    """At most `MAX_LESSONS`: those that warn first, then by confidence."""
    alike: dict[tuple[str | None, ...], list[LikeJob]] = {}
    for job in jobs:
        alike.setdefault((job.status, job.error_type, job.item_error), []).append(job)
    lessons = [_of_jobs(workload, group, len(jobs)) for group in alike.values()]
    lessons += [
        Lesson(
            text=note.text[:_TEXT_CHARACTERS],
            source=note.note_id,
            confidence=round(NOTE_CONFIDENCE * note.shared / (note.shared + 1), 2),
        )
        for note in notes
    ]
    return sorted(lessons, key=lambda each: (not each.warns, -each.confidence, each.source))[:MAX_LESSONS]


def _of_jobs(workload: str, group: Sequence[LikeJob], like_total: int) -> Lesson:
    """The lesson from jobs that ended in the same way; it names and quotes the most similar one."""
    closest = group[0]
    is_only = like_total == 1
    subject = f"a similar `{workload}` job" if is_only else f"{len(group)} of {like_total} similar `{workload}` jobs"
    ended = f"{closest.status}{_after(group)}"
    if closest.status not in ("completed", "failed"):
        ended = f"{'was' if is_only else 'were'} {closest.status}"
    causes = [cause for cause in (closest.error_type, closest.reason, _item_cause(closest)) if cause]
    text = f"{subject} {ended}" + (f": {'; '.join(causes)}" if causes else "")
    confidence = len(group) / (like_total + 1) * fmean(job.likeness for job in group)
    return Lesson(text[:_TEXT_CHARACTERS], closest.job_id, round(confidence, 2), warns=closest.status != "completed")


def _after(group: Sequence[LikeJob]) -> str:
    seconds = [job.active_seconds for job in group if job.active_seconds is not None]
    return f" after {median(seconds):.3g} s" if seconds else ""


def _item_cause(job: LikeJob) -> str | None:
    if job.item_error is None:
        return None
    return f"an item failed with {job.item_error}" + (f" ({job.item_message})" if job.item_message else "")
