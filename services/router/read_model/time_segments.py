"""Why a job took as long as it did: its time, cut into segments whose lengths sum to the total.

Pure: it replays the job's own fold, so the answer agrees with what the mesh did. All times are integer
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
for a person, for quota · `queue`: routed, but no runner whose results arrived was at work (the history does not tell of
a run that the end stopped before it gave any) · `run`: at least one was · `end`: from the deciding fact to
`job.ended`, when the end is on `jobs.done`.
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
        items_not_run: without a result, of a job that has ended; None of one that has not.
        engine: where it was routed to.
        advice: of the sages.
        holds: the remembered ones, oldest first.
        slowest: the result of the item that ran longest.
        first_error: the result of the first item in the log that failed.
    """

    total_ms: int
    segments: tuple[Segment, ...]
    has_ended: bool
    items_not_run: int | None
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


class TimeAccount:
    """Explains one job from all its facts, shown in log order; of results it keeps two, however many there are."""

    def __init__(self) -> None:
        self._state: JobState | None = None
        self._stretches: list[_Stretch] = []
        self._runs: list[tuple[int, int]] = []
        self._slowest: ItemResult | None = None
        self._first_error: ItemResult | None = None

    def add(self, record: FactRecord) -> None:
        """Show the next fact of the job.

        Raises:
            UnreadableFactError: the record is no fact of a job.
        """
        before = self._state
        folded = fold_job(before, record)
        self._state = state = folded.state
        self._runs += _runs(record)
        self._note(_counted(folded))
        if state is None or state.acceptance is None:
            return
        if before is None or before.acceptance is None:
            start = min(state.submitted_at, state.t) if state.submitted_at else state.t
            self._stretches.append(_Stretch(start, state.t, "admission"))
        elif not before.marked:
            self._stretches.append(_Stretch(before.t, state.t, _phase(before)))

    def _note(self, results: Sequence[ItemResult]) -> None:
        if self._first_error is None:
            self._first_error = _first_failed(results)
        for result in results:
            if self._slowest is None or (result.duration_seconds or 0) > (self._slowest.duration_seconds or 0):
                self._slowest = result

    def explanation(self, *, now_ms: int, is_running: bool) -> Explanation | None:
        """The explanation, once all facts have been shown.

        Args:
            now_ms: the end of the time of a job that has not ended.
            is_running: whether a runner holds a chunk of the job now, which facts do not show yet.

        Returns:
            None when the job was never accepted, or its first facts are gone.
        """
        state, stretches, runs = self._state, list(self._stretches), list(self._runs)
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
            items_not_run=(state.items_total or 0) - state.succeeded - state.failed if state.marked else None,
            engine=state.engine,
            advice=state.advice,
            holds=holds_of(state),
            slowest=self._slowest,
            first_error=self._first_error,
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


def _runs(record: FactRecord) -> Iterator[tuple[int, int]]:
    """From the claim of the run (the runner's clock) to the record of its results (the log's clock), if it is one's."""
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
