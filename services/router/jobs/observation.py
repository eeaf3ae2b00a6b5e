"""What a fact of results says of the time that items take: for the policy that routes later jobs of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Final, NamedTuple, Self

from eldermesh.contract.vocabulary import Engine
from shared.facts.jobs import FactResult, ItemsCompleted, JobTerms
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
        at_ms: when the last of them ended, in milliseconds since 1970.
        item_seconds: for which an item kept its slot, in the mean.
        spread: standard deviation of their durations over the mean; None if there are too few, or they are too short.
        wait_seconds: from the dispatch of their chunk to the start of the first of them.
    """

    at_ms: int
    item_seconds: float
    spread: float | None
    wait_seconds: float

    def text(self) -> str:
        """As the history keeps it."""
        spread = "" if self.spread is None else f"{self.spread:.3g}"
        return f"{self.at_ms}:{self.item_seconds:.4g}:{spread}:{self.wait_seconds:.4g}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text()`.

        Raises:
            ValueError: it is none.
        """
        at_ms, item_seconds, spread, wait_seconds = text.split(":")
        return cls(int(at_ms), float(item_seconds), float(spread) if spread else None, float(wait_seconds))


def kind_of(terms: JobTerms) -> Kind:
    """The kind of a job's items."""
    return Kind(terms.workload, terms.subject)


def measurements(terms: JobTerms, fact: ItemsCompleted) -> tuple[Measurement, ...]:
    """What a fact says, if it does: it has times, and an item has succeeded."""
    times = fact.times
    if times is None or not any(result.status == "succeeded" for result in fact.results):
        return ()
    # From when the first began to when the last one ended: so it is right for items that ran at once, too.
    elapsed_ms = max(_CLOCK_MS, times.ended_at - times.started_at)
    seconds = elapsed_ms / 1000 / len(fact.results)
    wait_seconds = max(0, times.started_at - times.dispatched_at) / 1000
    seen = Observation(times.ended_at, seconds, spread_of(fact.results), wait_seconds)
    return (Measurement(kind_of(terms).quantity(fact.engine), seen.text()),)


def spread_of(results: Sequence[FactResult]) -> float | None:
    """Standard deviation of durations over their mean; None if there are too few, or they are too short."""
    durations = [result.duration_ms for result in results if result.duration_ms is not None]
    if len(durations) < _LEAST_FOR_SPREAD or (mean := fmean(durations)) < _LEAST_MEAN_MS:
        return None
    return pstdev(durations) / mean
