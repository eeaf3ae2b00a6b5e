"""Watches what processes do at their ports, where no promise of the public topics reaches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.events import ItemsCompleted
from shared.history.claims import Renewal
from tests.property.breach import Breach
from tests.property.memory_log import MemoryLog
from tests.property.owner_life import LEASE_SECONDS
from tests.property.virtual_loop import WorldClock

if TYPE_CHECKING:
    from tests.property.runner_life import Run, RunnerProcess


@dataclass(slots=True)
class Witness:
    """Notes breaches; a test raises them, since a process' own code could swallow an exception.

    Attributes:
        executions: how often each item of a job had its effect.
        deaths: how many runs died holding an item alone.
        is_torn: Redis went back in time twice, or under the same run id, which no real one does: then, and only then,
            healthy runs may be killed or doubled (that is waste, nothing is lost).
        may_empty: a snapshot may not fit the log.
    """

    clock: WorldClock
    log: MemoryLog
    runners: Sequence[RunnerProcess]
    breaches: list[str] = field(default_factory=list)
    executions: Counter[tuple[str, int]] = field(default_factory=Counter)
    deaths: Counter[tuple[str, int]] = field(default_factory=Counter)
    is_torn: bool = False
    may_empty: bool = False
    _executed: int = 0

    def _report(self, message: str) -> None:
        """Note a breach inside a process, whose code must not be able to swallow it."""
        self.breaches.append(message)

    def raise_breaches(self) -> None:
        """Raise what processes were seen to do.

        Raises:
            Breach: the first of it.
        """
        if self.breaches:
            raise Breach(self.breaches[0])

    def snapshot_emptied(self) -> None:
        """An owner throws a snapshot away."""
        if not self.may_empty:
            self._report("an owner emptied a snapshot that fitted its log")

    def run_claimed(self, process: RunnerProcess, run: Run) -> None:
        """A runner got a claim."""
        for other in self.runners:
            theirs = other.run
            if other.is_dead or other is process or theirs is None or theirs.has_ended or theirs.killed_by is not None:
                continue
            is_live = self.clock.monotonic() - theirs.renewed_at < LEASE_SECONDS
            both = set(theirs.missing) & set(run.missing) - self.items_in(run.chunk.job_id)
            if is_live and theirs.chunk.job_id == run.chunk.job_id and both and not self.is_torn:
                self._report(f"{process.name} was given items {both}, which {other.name} runs under a live lease")
        process.run = run

    def run_renewed(self, process: RunnerProcess, renewal: Renewal) -> None:
        """A runner renewed, or learned that it must stop."""
        run = process.run
        if run is None:
            return
        now = self.clock.monotonic()
        lapsed = now - run.renewed_at >= LEASE_SECONDS
        if renewal is Renewal.HELD:
            run.renewed_at = now
            return
        run.killed_by = renewal
        still_missing = set(run.missing) - self.items_in(run.chunk.job_id)
        if lapsed:
            self.run_died(process)
        elif renewal is not Renewal.JOB_ENDED and still_missing and not self.is_torn:
            self._report(f"{process.name}, a healthy run of {run.chunk}, was killed: {renewal.value}")

    def run_died(self, process: RunnerProcess) -> None:
        """A runner dies with its claim."""
        if process.run is not None and not process.run.has_ended:
            missing = process.run.missing
            if len(missing) == 1:
                self.deaths[process.run.chunk.job_id, missing[0]] += 1

    def run_gives_back(self, process: RunnerProcess) -> None:
        """A run says in the history that its chunk is to be run again: from now on nothing of it may run."""
        if process.run is not None:
            process.run.has_ended = True

    def item_begins(self, process: RunnerProcess) -> None:
        """A run turns to an item."""
        self._still_runs(process)
        run = process.run
        if run is None:
            self._report(f"{process.name} runs an item without a claim")
        elif run.killed_by is not None:
            self._report(f"{process.name} runs an item though it was told to stop: {run.killed_by.value}")
        elif self.clock.monotonic() - run.renewed_at >= LEASE_SECONDS:
            self._report(f"{process.name} turns to an item on a lease that lapsed, without asking")

    def item_runs(self, process: RunnerProcess, job: str, index: int) -> int:
        """An item has its effect; the number of this execution."""
        self._still_runs(process)
        self.executions[job, index] += 1
        self._executed += 1
        return self._executed

    def _still_runs(self, process: RunnerProcess) -> None:
        if process.run is not None and process.run.has_ended:
            self._report(f"{process.name} runs an item of a chunk that it has given back")

    def items_in(self, job: str) -> set[int]:
        """The items of a job whose results stand in the log."""
        facts = (
            ItemsCompleted.model_validate_json(record.value)
            for record in self.log.records
            if record.key == job and record.fact_type == ItemsCompleted.fact_type
        )
        return {result.item_index for fact in facts for result in fact.results}
