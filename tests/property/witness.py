"""Watches what processes do at their ports, where no promise of the public topics reaches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.router.jobs.fold import fold_job
from services.router.jobs.state import JobState
from shared.facts.jobs import ItemsCompleted
from shared.history.runs.claims import Renewal
from tests.property.breach import Breach
from tests.property.memory_log import MemoryLog
from tests.property.owner_life import CLAIM_TIMEOUT_SECONDS, LEASE_SECONDS, OwnerProcess
from tests.property.virtual_loop import WorldClock

if TYPE_CHECKING:
    from tests.property.runner_life import Run, RunnerProcess


@dataclass(slots=True)
class Witness:
    """Notes breaches; a test raises them, since a process' own code could swallow an exception.

    Attributes:
        executions: how often each item of a job had its effect.
        lost_runs: how many runs died holding an item, deaths: how many of them held it alone.
        is_torn: Redis went back in time twice, or under the same run id, which no real one does: then, and only then,
            healthy runs may be killed or doubled (that is waste, nothing is lost).
    """

    clock: WorldClock
    log: MemoryLog
    runners: Sequence[RunnerProcess]
    breaches: list[str] = field(default_factory=list)
    executions: Counter[tuple[str, int]] = field(default_factory=Counter)
    lost_runs: Counter[tuple[str, int]] = field(default_factory=Counter)
    deaths: Counter[tuple[str, int]] = field(default_factory=Counter)
    is_torn: bool = False
    _executed: int = 0

    def report(self, message: str) -> None:
        """Note a breach inside a process, whose code must not be able to swallow it."""
        self.breaches.append(message)

    def raise_breaches(self) -> None:
        """Raise what processes were seen to do.

        Raises:
            Breach: the first of it.
        """
        if self.breaches:
            raise Breach(self.breaches[0])

    def dispatched(self, process: OwnerProcess, chunks: Sequence[str]) -> None:
        """An owner sends chunks to the engine, perhaps not for the first time since it loaded."""
        now = self.clock.monotonic()
        for chunk in chunks:
            sent_at = process.sent.get(chunk)
            if sent_at is not None and now - sent_at < CLAIM_TIMEOUT_SECONDS:
                self.report(f"{process.name} sent {chunk} again after {now - sent_at} s: the engine's queue fills")
            process.sent[chunk] = now

    def run_claimed(self, process: RunnerProcess, run: Run, expected: Collection[int] | None) -> None:
        """A runner got a claim; `expected` are the items that are missing by the log, as far as Redis applied it."""
        if expected is not None and set(run.missing) != set(expected):
            self.report(f"{process.name} was given items {run.missing} of {run.chunk}, missing are {expected}")
        self._look_for_another(process, run, "was given")
        process.run = run

    def _look_for_another(self, process: RunnerProcess, run: Run, what: str) -> None:
        for other in self.runners:
            theirs = other.run
            if other.is_dead or other is process or theirs is None or theirs.has_ended or theirs.killed_by is not None:
                continue
            is_live = self.clock.monotonic() - theirs.renewed_at < LEASE_SECONDS
            both = set(theirs.missing) & set(run.missing) - self.items_in(run.chunk.job_id)
            if is_live and theirs.chunk.job_id == run.chunk.job_id and both and not self.is_torn:
                self.report(f"{process.name} {what} items {both}, which {other.name} runs under a live lease")

    def run_renewed(self, process: RunnerProcess, renewal: Renewal, *, is_told: bool = True) -> None:
        """A runner renewed, or learned that it must stop; without `is_told` the answer never comes."""
        run = process.run
        if run is None:
            return
        now = self.clock.monotonic()
        lapsed = now - run.renewed_at >= LEASE_SECONDS
        if renewal is Renewal.HELD:
            run.renewed_at = now
            return
        if is_told:
            run.killed_by = renewal
        still_missing = set(run.missing) - self.items_in(run.chunk.job_id)
        if lapsed:
            self.run_died(process)
        elif not self._may_be_told(renewal, run.chunk.job_id) and still_missing and not self.is_torn:
            self.report(f"{process.name}, a healthy run of {run.chunk}, was killed: {renewal.value}")

    def run_finishes(self, process: RunnerProcess) -> None:
        """A run marks its claim done: from now on only facts can tell that there is anything left to do."""
        run = process.run
        if run is not None and (lost := set(run.missing) - self.items_in(run.chunk.job_id)):
            self.report(f"{process.name} is done with {run.chunk}, and of items {lost} no result is in the log")

    def run_died(self, process: RunnerProcess) -> None:
        """A runner dies with its claim."""
        run = process.run
        if run is not None and not run.has_died:
            run.has_died = True
            items = [(run.chunk.job_id, item) for item in run.missing]
            self.lost_runs.update(items)
            self.deaths.update(items if len(items) == 1 else ())

    def run_gives_back(self, process: RunnerProcess) -> None:
        """A run says in the history that its chunk is to be run again: from now on nothing of it may run."""
        if process.run is not None:
            process.run.has_ended = True

    def item_begins(self, process: RunnerProcess) -> None:
        """A run turns to an item."""
        self._still_runs(process)
        run = process.run
        if run is None:
            self.report(f"{process.name} runs an item without a claim")
        elif run.killed_by is not None:
            self.report(f"{process.name} runs an item though it was told to stop: {run.killed_by.value}")
        elif self.clock.monotonic() - run.renewed_at >= LEASE_SECONDS:
            self.report(f"{process.name} turns to an item on a lease that lapsed, without asking")
        else:
            self._look_for_another(process, run, "turns to one of the")

    def item_runs(self, process: RunnerProcess, job: str, index: int) -> int:
        """An item has its effect; the number of this execution."""
        self._still_runs(process)
        self.executions[job, index] += 1
        self._executed += 1
        return self._executed

    def _still_runs(self, process: RunnerProcess) -> None:
        if process.run is not None and process.run.has_ended:
            self.report(f"{process.name} runs an item of a chunk that it has given back")

    def _may_be_told(self, renewal: Renewal, job: str) -> bool:
        """Whether a healthy run may hear this: that its job has ended, if by the log it has."""
        state: JobState | None = None
        for record in self.log.everything if renewal is Renewal.JOB_ENDED else ():
            if record.key == job:
                state = fold_job(state, record).state
        return state is not None and state.end is not None

    def items_in(self, job: str) -> set[int]:
        """The items of a job whose results stand in the log."""
        facts = (
            ItemsCompleted.model_validate_json(record.value)
            for record in self.log.everything
            if record.key == job and record.fact_type == ItemsCompleted.fact_type
        )
        return {result.item_index for fact in facts for result in fact.results}
