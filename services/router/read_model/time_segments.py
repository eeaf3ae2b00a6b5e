"""Why a job took as long as it did: its time, cut into segments whose lengths sum to the total.

Pure functions. They replay the job's own fold, so the answer agrees with what the mesh did. All times are integer
milliseconds since 1970, all lengths integer milliseconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from eldermesh.contract.results import ItemResult, JobProgress
from eldermesh.contract.vocabulary import Engine
from services.router.jobs.fold import fold_job
from services.router.jobs.state import JobState
from services.router.read_model.job import JobHold
from services.router.read_model.projection import holds_of
from shared.facts.jobs import AdviceEntry, ItemsCompleted, decode_job_fact
from shared.history.facts import FactRecord
from shared.history.machine import Folded

SegmentName = Literal["admission", "decision", "hold", "pause", "queue", "run", "end"]
"""In their usual order.

`admission`: from the inbox record to `job.accepted` · `decision`: until the job is routed · `hold`, `pause`: it waited
for a person, for quota · `queue`: routed, but no runner whose results arrived was at work · `run`: at least one was ·
`end`: from the deciding fact to `job.ended`, when the end is on `jobs.done`.
"""


@dataclass(frozen=True, slots=True)
class Segment:
    """The total time of one kind."""

    name: SegmentName
    length_ms: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a job's time went. The segments (those of length 0 left out) sum to `total_ms`.

    Attributes:
        total_ms: from the submit to the last fact, or until now.
        segments: in the order of `SegmentName`.
        has_ended: whether its last fact is there: its end is on `jobs.done`.
        engine: where it was routed to.
        advice: of the sages.
        holds: the remembered ones, oldest first.
        slowest: the result of the item that ran longest.
        first_error: the result of the first item in the log that failed.
    """

    total_ms: int
    segments: tuple[Segment, ...]
    has_ended: bool
    engine: Engine | None
    advice: Sequence[AdviceEntry]
    holds: Sequence[JobHold]
    slowest: ItemResult | None
    first_error: ItemResult | None


@dataclass(frozen=True, slots=True)
class _Stretch:
    start: int
    end: int
    name: SegmentName


def explain(records: Sequence[FactRecord], *, now_ms: int, is_running: bool) -> Explanation | None:
    """Explain a job from all its facts, in log order.

    Args:
        records: the facts of this job alone.
        now_ms: the end of the time of a job that has not ended.
        is_running: whether a runner holds a chunk of the job now, which facts do not show yet.

    Returns:
        None when the job was never accepted, or its first facts are gone.

    Raises:
        UnreadableFactError: a record is no fact of a job.
    """
    state: JobState | None = None
    stretches: list[_Stretch] = []
    results: list[ItemResult] = []
    runs = list(_runs(records))
    for record in records:
        before = state
        folded = fold_job(state, record)
        state = folded.state
        results += _counted(folded)
        if state is None or state.acceptance is None:
            continue
        if before is None or before.acceptance is None:
            start = min(state.submitted_at, state.t) if state.submitted_at else state.t
            stretches.append(_Stretch(start, state.t, "admission"))
        elif not before.marked:
            stretches.append(_Stretch(before.t, state.t, _phase(before)))
    if state is None or state.acceptance is None or not stretches or state.submitted_at == 0:
        return None
    if not state.marked:
        until = max(now_ms, state.t)
        if is_running:
            runs.append((state.t, until))
        stretches.append(_Stretch(state.t, until, _phase(state)))
    lengths: dict[SegmentName, int] = dict.fromkeys(get_args(SegmentName), 0)
    union = _union(runs)
    for stretch in stretches:
        length = stretch.end - stretch.start
        ran = _overlap(stretch, union) if stretch.name == "queue" else 0
        lengths["run"] += ran
        lengths[stretch.name] += length - ran
    return Explanation(
        total_ms=stretches[-1].end - stretches[0].start,
        segments=tuple(Segment(name, length) for name, length in lengths.items() if length),
        has_ended=state.marked,
        engine=state.engine,
        advice=state.advice,
        holds=holds_of(state),
        slowest=max(results, key=lambda result: result.duration_seconds or 0, default=None),
        first_error=_first_failed(results),
    )


async def first_error(records: AsyncIterable[FactRecord]) -> ItemResult | None:
    """The `first_error` of an explanation, from a job's facts in log order; reads no further than that.

    Raises:
        UnreadableFactError: a record is no fact of a job.
    """
    state: JobState | None = None
    async for record in records:
        folded = fold_job(state, record)
        state = folded.state
        if (failed := _first_failed(_counted(folded))) is not None:
            return failed
    return None


def _counted(folded: Folded[JobState]) -> Sequence[ItemResult]:
    """The results of a fact that the fold counted, as published."""
    return () if folded.progress is None else JobProgress.model_validate_json(folded.progress.value).results


def _first_failed(results: Iterable[ItemResult]) -> ItemResult | None:
    return next((result for result in results if result.status == "failed"), None)


def _phase(state: JobState) -> SegmentName:
    """The segment that begins with this state; `queue` may turn out to be `run`."""
    if state.end is not None:
        return "end"
    if state.hold is not None:
        return "hold"
    if state.pause is not None:
        return "pause"
    return "decision" if state.engine is None else "queue"


def _runs(records: Iterable[FactRecord]) -> Iterator[tuple[int, int]]:
    """From the claim of each run (the runner's clock) to the record of its results (the log's clock)."""
    for record in records:
        if record.fact_type == ItemsCompleted.fact_type:
            fact = decode_job_fact(record.fact_type, record.value)
            if isinstance(fact, ItemsCompleted) and fact.times is not None:
                yield min(fact.times.claimed_at, record.time_ms), record.time_ms


def _union(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    union: list[tuple[int, int]] = []
    for start, end in sorted(runs):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((start, end))
    return union


def _overlap(stretch: _Stretch, union: Sequence[tuple[int, int]]) -> int:
    return sum(max(0, min(stretch.end, end) - max(stretch.start, start)) for start, end in union)
