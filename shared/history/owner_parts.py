"""What an owner needs from its service: a decider, a dispatcher, an observer, and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from opentelemetry.metrics import Meter

from shared.history.machine import DecisionDue, DispatchDue, NewFact
from shared.telemetry import metric_names, names

S_contra = TypeVar("S_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class OwnerTimes:
    """Seconds. `lease` is a claim's; `claim_timeout` the wait for one; `look` the time between looks at the claims."""

    lease: float
    claim_timeout: float
    look: float = 1.0
    sweep: float = 1.0
    forget: float = 60.0


@dataclass(frozen=True, slots=True)
class Rank:
    """The place of a subject among those that wait for room in a window.

    Attributes:
        priority: the lowest is served first, whatever waits below.
        order: within a tenant the lowest is served first.
        tenant: tenants of one priority take turns.
        weight: how many chunks a tenant gets for each one of a tenant of weight 1; above 0.
    """

    priority: int
    order: int
    tenant: str = ""
    weight: float = 1.0


class Decider(Protocol[S_contra]):
    """Makes the decisions that need more than the log."""

    async def decide(self, state: S_contra, due: DecisionDue) -> NewFact | None:
        """The fact that records the decision; None to be asked again later.

        What it raises concerns this subject alone: it is logged, and the decision is asked for again later.
        """


class NoDecisions:
    """Of a history whose machine asks for none."""

    async def decide(self, state: object, due: DecisionDue) -> NewFact | None:
        """Never asked."""
        raise NotImplementedError(f"{due} of {state}: this history has no decisions")


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What became of chunks that were to be sent; those in none of the three are sent again later.

    Attributes:
        taken: identities of the chunks that their engine took, as text.
        refused: identities of chunks that cannot be sent now, with the error of each; their engine works.
        closed: lanes whose engine takes nothing now, with its error; nothing is sent to it for a moment.
    """

    taken: frozenset[str]
    refused: Mapping[str, Exception] = field(default_factory=dict)
    closed: Mapping[str, Exception] = field(default_factory=dict)


class Dispatcher(Protocol[S_contra]):
    """Sends chunks to engines."""

    def rank(self, state: S_contra) -> Rank:
        """The place of a subject among those that wait for room in the window."""

    async def dispatch(self, partition: int, chunks: Sequence[tuple[S_contra, DispatchDue]]) -> Dispatched | None:
        """Send chunks; sending one twice is harmless. What cannot be sent hinders no other chunk.

        Returns:
            What was taken; None: all of it.

        Raises:
            RetryableError: no engine of these chunks takes anything now.
        """


class Observer(Protocol[S_contra]):
    """Is told what an owner did, for telemetry. It must not block; what it raises is logged and changes nothing."""

    def folded(self, facts: int, seconds: float) -> None:
        """A batch was folded and acted on."""

    def published_end(self, state: S_contra) -> None:
        """An end was published and acknowledged (perhaps not for the first time)."""

    def lost(self) -> None:
        """A guarded call found that the ownership is lost."""


class NoObserver:
    """An `Observer` that does nothing."""

    def folded(self, facts: int, seconds: float) -> None:
        """Nothing."""

    def published_end(self, state: object) -> None:
        """Nothing."""

    def lost(self) -> None:
        """Nothing."""


class OwnerMetrics:
    """The part of an `Observer` that needs nothing of the state.

    Args:
        meter: makes the instruments.
        history_topic: full name of the history, an attribute of each measurement.
    """

    def __init__(self, meter: Meter, history_topic: str) -> None:
        self._topic = {names.MESSAGING_DESTINATION_NAME: history_topic}
        self._facts = meter.create_counter(metric_names.FACTS_FOLDED.name, metric_names.FACTS_FOLDED.unit)
        self._batches = meter.create_histogram(
            metric_names.OWNER_BATCH_DURATION.name, metric_names.OWNER_BATCH_DURATION.unit
        )
        self._lost = meter.create_counter(metric_names.OWNERSHIPS_LOST.name, metric_names.OWNERSHIPS_LOST.unit)

    def folded(self, facts: int, seconds: float) -> None:
        """Count a batch and measure its time in seconds."""
        self._facts.add(facts, self._topic)
        self._batches.record(seconds, self._topic)

    def lost(self) -> None:
        """Count a lost ownership."""
        self._lost.add(1, self._topic)
