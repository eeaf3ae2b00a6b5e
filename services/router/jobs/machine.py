"""The state machine of jobs that owners run: `jobs.history` → `jobs.progress` and `jobs.done`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from eldermesh.counted import counted
from services.router.jobs import clock
from services.router.jobs.end import END_KIND
from services.router.jobs.fold import fold_job
from services.router.jobs.plan import current_chunk, current_chunks
from services.router.jobs.plan_changes import chunks_gone, series_come
from services.router.jobs.retries import successors
from services.router.jobs.state import JobState, state_adapter
from shared.facts.fact import TimerFired
from shared.facts.jobs import FactResult, ItemsCompleted, JobEnded, JobReplanned, PlannedChunk
from shared.history.accepted_machine import AcceptedMachine
from shared.history.chunk_id import ChunkId
from shared.history.facts import FactRecord
from shared.history.machine import ChunkChanges, DecisionDue, DispatchDue, Due, Folded, NewFact, TimerDue
from shared.history.subject_state import subject_fact
from shared.kafka.topics import JOBS_HISTORY

OWNER_WORKER_ID = "router"

ASKED_FOR_RAY = "ray (asked for)"
"""The lane of jobs whose submit asks for Ray."""


@dataclass(frozen=True, slots=True)
class JobMachine(AcceptedMachine[JobState]):
    """`Machine[JobState]`.

    Args:
        max_chunk_deaths: deaths in a row after which a chunk is bisected.
        max_item_deaths: deaths in a row after which a single item ends as `failed(crashed)`.
    """

    end_kind: ClassVar = END_KIND
    max_chunk_deaths: int = 2
    max_item_deaths: int = 3
    history_topic: str = JOBS_HISTORY
    mark_fact_type: str = JobEnded.fact_type

    def fold(self, state: JobState | None, record: FactRecord) -> Folded[JobState]:
        """Fold one fact."""
        return fold_job(state, record)

    def due(self, state: JobState, now_ms: int) -> Iterator[Due]:
        """Ends, timers, decisions and dispatches that are due."""
        if not state.is_live:
            yield from self.end_due(state)
            return
        for name, timer in state.timers.items():
            if timer.due <= now_ms:
                identity = clock.timer_id(state, name)
                yield TimerDue(identity, subject_fact(state, TimerFired(timer_id=identity)))
        if state.hold is not None or state.pause is not None or clock.ADVISE in state.timers:
            return
        if state.engine is None:
            yield DecisionDue(state.decisions)
            return
        lane = self.lane(state)
        for chunk in current_chunks(state.plan, state.bitmap):
            yield DispatchDue(state.chunk_id(chunk), chunk.deaths + 1, lane)

    def wake_at(self, state: JobState) -> int | None:
        """Due time of the earliest armed timer."""
        return min((timer.due for timer in state.timers.values()), default=None)

    def replan(self, state: JobState, dead: Sequence[ChunkId]) -> Sequence[NewFact]:
        """A plan of the next epoch for the missing items of dead chunks; an item that kills runners fails instead."""
        if not state.is_live or state.engine is None:
            return ()
        crashed: list[PlannedChunk] = []
        again: list[PlannedChunk] = []
        for planned in successors(state, dead, bisect_after=self.max_chunk_deaths):
            hopeless = planned.first == planned.last and planned.deaths >= self.max_item_deaths
            (crashed if hopeless else again).append(planned)
        facts = [subject_fact(state, self._crash(state, planned)) for planned in crashed]
        if again:
            replaced = tuple(str(chunk) for chunk in dead)
            plan = JobReplanned(n=state.decisions, epoch=state.epoch + 1, replaced=replaced, chunks=tuple(again))
            facts.append(subject_fact(state, plan))
        return facts

    def _crash(self, state: JobState, planned: PlannedChunk) -> ItemsCompleted:
        result = FactResult(
            item_index=planned.first,
            status="failed",
            error_type="crashed",
            error_message=f"the runner died {counted(planned.deaths, 'time')} on this item",
            attempt=planned.deaths,
        )
        chunk = current_chunk(state.plan, state.bitmap, planned.first)
        assert chunk is not None  # noqa: S101 - for the type checker: its item is missing
        return ItemsCompleted(
            epoch=chunk.epoch,
            chunk_id=str(state.chunk_id(chunk)),
            engine=state.engine or "celery",
            worker_id=OWNER_WORKER_ID,
            results=(result,),
            only_if_current=True,
        )

    def chunks(self, state: JobState) -> Iterator[ChunkId]:
        """The current chunks, in dispatch order."""
        return map(state.chunk_id, current_chunks(state.plan, state.bitmap))

    def chunk_changes(self, before: JobState | None, after: JobState) -> ChunkChanges:
        """What facts have changed in a plan of however many chunks."""
        plan, bitmap = ((), b"") if before is None else (before.plan, before.bitmap)
        gone = chunks_gone(plan, bitmap, after.plan, after.bitmap)
        come = series_come(plan, after.plan)
        chunks = (after.identity(chunk) for series in come for chunk in series.chunks(after.bitmap))
        most = sum(-(-(series.last - series.first + 1) // series.size) for series in come)
        return ChunkChanges([after.identity(chunk) for chunk in gone], chunks, most)

    def lane(self, state: JobState) -> str:
        """The engine of the job; jobs that asked for Ray have a lane of their own, as only they wait for it."""
        asked_for_ray = state.engine == "ray" and state.terms is not None and state.terms.engine == "ray"
        return ASKED_FOR_RAY if asked_for_ray else state.engine or ""

    def bitmap(self, state: JobState) -> bytes:
        """Which items have a result."""
        return state.bitmap

    def encode(self, state: JobState) -> bytes:
        """JSON of the state without its bitmap."""
        return state_adapter().dump_json(state, exclude={"bitmap"})

    def decode(self, raw: bytes, bitmap: bytes) -> JobState:
        """Read a state back."""
        return replace(state_adapter().validate_json(raw), bitmap=bitmap)
