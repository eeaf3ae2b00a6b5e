"""The sage `task`: how long similar jobs took, cost and waited, and what follows from that.

It knows only the past jobs of this mesh; without samples its values are null.
"""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue

from services.sages.memory.learning_sage import LearningSage
from services.sages.memory.table import Memory
from services.sages.past_jobs.duration_table import SCHEMA_SQL, SCHEMA_VERSION, apply_fact, prune
from services.sages.past_jobs.similar import Likeness, SimilarJobs, find_duplicate, find_similar
from services.sages.sage import Question
from shared.job_subject import job_subject
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings

INTERACTIVE_SECONDS: Final = 10.0
"""A job whose p90 is at most this is proposed as `interactive`: it gains most from not waiting."""

BATCH_SECONDS: Final = 600.0
"""A job whose p50 is above this is proposed as `batch`: it makes others wait."""

CHUNK_SECONDS: Final = 5.0
"""Target work of a chunk: what a dead runner loses, and how late a cancel takes effect."""

LEAST_CHUNK_SECONDS: Final = 0.05
"""Below this the overhead of a chunk, about 2 ms, matters."""

_QUANTILES: Final = (("p10", 0.1), ("p50", 0.5), ("p90", 0.9))


class TaskSage(LearningSage):
    """`Sage` that learns from `jobs.history`."""

    name = "task"

    def __init__(self) -> None:
        super().__init__()
        self._slots = 1

    async def start(self, settings: Settings) -> None:
        """Open the memory of past jobs and begin to read."""
        self._slots = settings.slots
        await self.remember(
            Memory(settings, self.name, [JOBS_HISTORY], SCHEMA_SQL, SCHEMA_VERSION, apply_fact, prune=prune)
        )

    async def advise(self, question: Question) -> dict[str, JsonValue]:
        """Quantiles with their sample counts, a priority, a chunk size, and a duplicate if there is one."""
        if self.memory is None:
            raise RuntimeError("not started")
        likeness = Likeness(
            job_id=question.job_id,
            workload=question.workload,
            subject=job_subject(question.options),
            items_total=question.items_total,
        )

        similar, duplicate = await self.memory.query(
            lambda connection: (
                find_similar(connection, likeness),
                find_duplicate(
                    connection, question.job_id, question.tenant, question.content_hash, question.accepted_at
                ),
            )
        )
        return {
            "samples": len(similar.duration_seconds),
            "basis": similar.basis,
            "duration_seconds": quantiles(similar.duration_seconds),
            "cost_usd": quantiles(similar.cost_usd),
            "queue_seconds": quantiles(similar.queue_seconds),
            "priority": proposed_priority(question.terms.priority, similar),
            "chunk_items": proposed_chunk_items(question.items_total, similar.item_seconds, self._slots),
            "duplicate_of": duplicate,
        }


def quantiles(samples: tuple[float, ...]) -> dict[str, JsonValue] | None:
    """p10, p50 and p90, interpolated linearly (Hyndman and Fan's type 7) and rounded to four decimals."""
    if not samples:
        return None
    ordered = sorted(samples)
    return {name: round(_quantile(ordered, share), 4) for name, share in _QUANTILES}


def proposed_priority(asked: str, similar: SimilarJobs) -> str:
    """The priority of the submit; if that is `normal`, another one for jobs that are short or long."""
    if asked != "normal" or not similar.duration_seconds:
        return asked
    ordered = sorted(similar.duration_seconds)
    if _quantile(ordered, 0.9) <= INTERACTIVE_SECONDS:
        return "interactive"
    return "batch" if _quantile(ordered, 0.5) > BATCH_SECONDS else asked


def proposed_chunk_items(items_total: int | None, item_seconds: float | None, slots: int) -> int | None:
    """Items that take `CHUNK_SECONDS`; fewer if two chunks a slot need it, but never below `LEAST_CHUNK_SECONDS`."""
    if items_total is None or item_seconds is None:
        return None
    if item_seconds <= 0:
        return items_total
    shared_out = -(-items_total // (2 * slots))
    chosen = min(CHUNK_SECONDS / item_seconds, shared_out)
    return min(items_total, max(1, round(max(chosen, LEAST_CHUNK_SECONDS / item_seconds))))


def _quantile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
