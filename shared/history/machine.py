"""What the owner needs to know of the kind of state it folds: one implementation for each history topic."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from eldermesh.contract.cloudevents import Headers
from shared.history.chunk_id import ChunkId
from shared.history.facts import FactRecord

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Publication:
    """A public record; `topic` is without prefix, the partition is that of the history."""

    topic: str
    key: str
    value: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class NewFact:
    """A fact to append to the history."""

    fact_type: str
    value: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a fact says of a quantity that concerns more subjects than its own: the newest are kept for decisions.

    Attributes:
        name: of the quantity.
        value: text without white space, opaque to Redis.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Folded(Generic[S]):
    """What one fact made of a state, and the public records it calls for.

    `spec` is what runners need to know, set by the first fact of the subject; `annex` is what a later fact added to it,
    kept as long. `announcements` are further public records, published when `progress` is.
    """

    state: S | None
    progress: Publication | None = None
    conflict: Publication | None = None
    spec: bytes | None = None
    announcements: tuple[Publication, ...] = ()
    annex: bytes | None = None
    measurements: tuple[Measurement, ...] = ()


@dataclass(frozen=True, slots=True)
class EndDue:
    """The end is decided and not marked: publish it, await it, then append the mark."""

    publication: Publication
    mark: NewFact


@dataclass(frozen=True, slots=True)
class MarkDue:
    """The end is published, and its mark has to be appended again."""

    mark: NewFact


@dataclass(frozen=True, slots=True)
class DecisionDue:
    """A decision is due that needs more than the log; `n` is the number of decisions folded so far."""

    n: int


@dataclass(frozen=True, slots=True)
class TimerDue:
    """An armed timer has come due."""

    timer_id: str
    fact: NewFact


@dataclass(frozen=True, slots=True)
class DispatchDue:
    """A current chunk should be with an engine; `attempt` counts from 1.

    Chunks of one `lane` share a window: where one engine takes nothing, the others' chunks do not wait for it. One that
    `is_ahead` goes before others of its priority: its tenant has nothing else with the engine. Machines leave that to
    who sends it.
    """

    chunk: ChunkId
    attempt: int
    lane: str = ""
    is_ahead: bool = False


@dataclass(frozen=True, slots=True)
class ChunkChanges:
    """The identities of the chunks that stood in a plan and no longer do, and of those that have come, as text.

    Those that have come are made when they are asked for, once; there are at most `most_come`.
    """

    gone: Collection[str]
    come: Iterable[str]
    most_come: int


Due = EndDue | MarkDue | DecisionDue | TimerDue | DispatchDue


class Machine(Protocol[S]):
    """The pure parts of one kind of history: everything here is a function of its arguments."""

    @property
    def history_topic(self) -> str:
        """Name of the history topic, without prefix."""

    @property
    def mark_fact_type(self) -> str:
        """Type of the fact that says an end has been published."""

    def fold(self, state: S | None, record: FactRecord) -> Folded[S]:
        """Fold one fact."""

    def due(self, state: S, now_ms: int) -> Iterable[Due]:
        """What is due at `now_ms`. Level-triggered: it stays due until a fact in the log says otherwise.

        Dispatches come last, in the order of the plan. Each is made when it is asked for, for there may be very many.
        """

    def wake_at(self, state: S) -> int | None:
        """The earliest time an armed timer comes due, in milliseconds; None without timers."""

    def replan(self, state: S, dead: Sequence[ChunkId]) -> Sequence[NewFact]:
        """The facts that take the place of dead chunks: a plan with a higher epoch, or the end of an item."""

    def chunks(self, state: S) -> Iterable[ChunkId]:
        """The chunks that stand in the plan, in dispatch order."""

    def chunk_changes(self, before: S | None, after: S) -> ChunkChanges:
        """What facts have changed in a plan, at a cost of what has changed."""

    def lane(self, state: S) -> str:
        """The lane of the subject's chunks, as in `DispatchDue`, whether any is due or not."""

    def mark(self, state: S) -> str:
        """Tells a subject with chunks from another one of the same id: of another log, or forgotten since."""

    def bitmap(self, state: S) -> bytes:
        """Which items have a result."""

    def is_ended(self, state: S) -> bool:
        """Whether nothing will run any more."""

    def last_offset(self, state: S) -> int:
        """Offset of the last fact folded into the state."""

    def is_settled(self, state: S) -> bool:
        """Whether the state may be forgotten once the log's start has passed its last fact."""

    def encode(self, state: S) -> bytes:
        """The state without its bitmap, opaque to Redis."""

    def decode(self, raw: bytes, bitmap: bytes) -> S:
        """Read a state back."""
