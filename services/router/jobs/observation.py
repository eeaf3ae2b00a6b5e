"""What a fact of results says of the time that items take: for the policy that routes later jobs of the same kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Final, NamedTuple, Self

from eldermesh.contract.vocabulary import Engine
from shared.facts.jobs import FactResult, ItemsCompleted, JobTerms
from shared.history.chunk_id import ChunkId
from shared.history.machine import Measurement

_CLOCK_MS: Final = 0.5
"""The clock of facts ticks once a millisecond: what begins and ends within one tick took about half of it."""

_LEAST_FOR_SPREAD: Final = 5
_LEAST_MEAN_MS: Final = 5.0
"""Fewer durations, or shorter ones, say nothing of how uneven items are."""


class Kind(NamedTuple):
    """Items that should cost the same: the workload, and the function or model of the job."""

    workload: str
    subject: str

    def quantity(self, engine: Engine) -> str:
        """The name under which the history keeps what its items took on an engine."""
        return f"{engine} {self.workload} {self.subject}"


@dataclass(frozen=True, slots=True)
class Observation:
    """Items of one fact.

    Attributes:
        at_ms: of the fact, by the log's clock, in milliseconds since 1970.
        item_seconds: for which an item kept its slot, in the mean.
        spread: standard deviation of their durations over the mean; None if there are too few, or they are too short.
        wait_seconds: from the claim of their chunk to the start of its first item; None if that is not among them.
    """

    at_ms: int
    item_seconds: float
    spread: float | None
    wait_seconds: float | None

    def text(self) -> str:
        """As the history keeps it."""
        parts = ("" if part is None else f"{part:.4g}" for part in (self.spread, self.wait_seconds))
        return ":".join((str(self.at_ms), f"{self.item_seconds:.4g}", *parts))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text()`; what a later release may have added behind it is passed over.

        Raises:
            ValueError: it is none.
        """
        at_ms, item_seconds, *rest = text.split(":")
        spread, wait_seconds = (_number(part) if part else None for part in rest[:2])
        return cls(int(at_ms), _number(item_seconds), spread, wait_seconds)


def kind_of(terms: JobTerms) -> Kind | None:
    """The kind of a job's items; None if nothing is learned of them."""
    return None if terms.subject is None else Kind(terms.workload, terms.subject)


def measurements(terms: JobTerms, fact: ItemsCompleted, at_ms: int) -> tuple[Measurement, ...]:
    """What a fact of this time says, if it does: it has times that can be, and an item has succeeded."""
    kind, times = kind_of(terms), fact.times
    if kind is None or times is None or not any(result.status == "succeeded" for result in fact.results):
        return ()
    elapsed_ms, wait_ms = times.ended_at - times.started_at, times.started_at - times.claimed_at
    if elapsed_ms < 0 or wait_ms < 0:  # the clock was set meanwhile
        return ()
    seconds = max(_CLOCK_MS, elapsed_ms) / 1000 / len(fact.results)
    wait_seconds = wait_ms / 1000 if _has_first_item(fact) else None
    seen = Observation(at_ms, seconds, spread_of(fact.results), wait_seconds)
    return (Measurement(kind.quantity(fact.engine), seen.text()),)


def _has_first_item(fact: ItemsCompleted) -> bool:
    try:
        first = ChunkId.parse(fact.chunk_id).first
    except ValueError:
        return False
    return any(result.item_index == first for result in fact.results)


def _number(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError(f"{text} is no measure")
    return number


def spread_of(results: Sequence[FactResult]) -> float | None:
    """Standard deviation of durations over their mean; None if there are too few, or they are too short."""
    durations = [result.duration_ms for result in results if result.duration_ms is not None]
    if len(durations) < _LEAST_FOR_SPREAD or (mean := fmean(durations)) < _LEAST_MEAN_MS:
        return None
    return pstdev(durations) / mean
