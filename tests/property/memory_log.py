"""One history partition in memory, with the public topics beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.records import PublicRecord
from shared.errors import LostOwnershipError, RetryableError
from shared.history.clock import Clock
from shared.history.facts import FactRecord
from shared.history.log import Bounds
from shared.history.machine import NewFact, Publication

ProduceFault = Literal["lost", "ambiguous", "partial", "twice"]
"""lost: nothing is written and the call fails. ambiguous: all is written and it fails. partial: half is written and it
fails. twice: all is written two times, and it succeeds (a producer that tried again by itself)."""

ReadFault = Literal["down", "refused", "nothing"]
"""down: the call fails. refused: the broker says that the offset lies outside the log (a leader that lags). nothing: it
gives no record, though there are some."""


@dataclass(slots=True)
class MemoryLog:
    """The broker's side: all owners and runners of a world share it.

    Attributes:
        clock: gives record times, `skew_ms` added (a broker with a clock of its own; it may go backwards).
        records: the partition; the first one has the offset `start`.
        public: everything that was published, in order.
        dropped: what retention has taken, in order: together with `records` all that was ever there.
        faults: each produce call takes one from the left; None lets it succeed.
        read_faults, bounds_faults: the same for the calls of owners that read, and that ask for start and end.
    """

    clock: Clock
    start: int = 0
    skew_ms: int = 0
    records: list[FactRecord] = field(default_factory=list)
    public: list[PublicRecord] = field(default_factory=list)
    faults: deque[ProduceFault | None] = field(default_factory=deque)
    read_faults: deque[ReadFault] = field(default_factory=deque)
    bounds_faults: deque[Literal["down"]] = field(default_factory=deque)
    dropped: list[FactRecord] = field(default_factory=list)

    @property
    def everything(self) -> list[FactRecord]:
        """All records that were ever written, those included that retention has taken."""
        return [*self.dropped, *self.records]

    @property
    def end(self) -> int:
        """Offset of the next record."""
        return self.start + len(self.records)

    def record(self, offset: int) -> FactRecord:
        """The record that was written at `offset`, whether retention has taken it or not."""
        first = self.start - len(self.dropped)
        return self.dropped[offset - first] if offset < self.start else self.records[offset - self.start]

    def bounds(self) -> Bounds:
        """Start and end, under the next fault.

        Raises:
            RetryableError: by that fault.
        """
        if self.bounds_faults:
            raise RetryableError(f"injected: {self.bounds_faults.popleft()}")
        return Bounds(self.start, self.end)

    def read(self, offset: int, most: int) -> list[FactRecord]:
        """Records from `offset` on, under the next fault; beyond the end nothing comes, as on the embedded broker.

        Raises:
            LostOwnershipError: retention has dropped the offset, or by that fault.
            RetryableError: by that fault.
        """
        fault = self.read_faults.popleft() if self.read_faults else None
        if fault == "down":
            raise RetryableError("injected: down")
        if fault == "nothing":
            return []
        if fault == "refused":
            raise LostOwnershipError("injected: refused")
        if offset < self.start:
            raise LostOwnershipError(f"offset {offset} is below {self.start}")
        return self.records[offset - self.start : offset - self.start + most]

    def write(self, key: str, fact_type: str, value: bytes) -> int:
        """Write one record; its offset."""
        offset = self.end
        self.records.append(FactRecord(offset, self.clock.now_ms() + self.skew_ms, key, fact_type, value))
        return offset

    def append(self, facts: Sequence[tuple[str, NewFact]]) -> list[int]:
        """Append facts, under the next fault.

        Raises:
            RetryableError: by that fault.
        """
        fault = self._next_fault()
        offsets: list[int] = []
        for _ in range(2 if fault == "twice" else 1):
            offsets = [
                self.write(subject, header_text(fact.headers, "ce_type") or "", fact.value)
                for subject, fact in facts[: self._written(fault, len(facts))]
            ]
        self._fail(fault)
        return offsets

    def publish(self, publications: Sequence[Publication]) -> None:
        """Publish, under the next fault.

        Raises:
            RetryableError: by that fault.
        """
        fault = self._next_fault()
        for publication in list(publications[: self._written(fault, len(publications))]) * (
            2 if fault == "twice" else 1
        ):
            key, headers = publication.key.encode(), tuple(publication.headers)
            self.public.append(PublicRecord(publication.topic, 0, len(self.public), key, headers, publication.value))
        self._fail(fault)

    def trim(self, start: int) -> None:
        """Retention: forget everything below `start`."""
        self.dropped += self.records[: start - self.start]
        del self.records[: start - self.start]
        self.start = start

    def _next_fault(self) -> ProduceFault | None:
        return self.faults.popleft() if self.faults else None

    @staticmethod
    def _written(fault: ProduceFault | None, asked: int) -> int:
        return {None: asked, "twice": asked, "ambiguous": asked, "partial": asked // 2, "lost": 0}[fault]

    @staticmethod
    def _fail(fault: ProduceFault | None) -> None:
        if fault not in (None, "twice"):
            raise RetryableError(f"injected: {fault}")
