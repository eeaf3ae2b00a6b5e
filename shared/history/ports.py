"""What an owner needs of its surroundings: clocks, a mind for decisions, engines to dispatch to."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from shared.history.machine import DecisionDue, DispatchDue, NewFact

S_contra = TypeVar("S_contra", contravariant=True)


if sys.platform == "linux":

    def _since_boot() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def _suspended() -> float:
        awake = time.clock_gettime(time.CLOCK_MONOTONIC)
        return _since_boot() - awake

else:  # macOS counts sleep only in a clock that Python does not name

    def _since_boot() -> float:
        return time.monotonic()

    def _suspended() -> float:
        return 0.0


class Clock(Protocol):
    """Time, so that tests can drive it."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back; stands still for nobody."""
        ...

    def suspended_seconds(self) -> float:
        """How much of that this machine was suspended for: it only grows, and by nothing else."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """`CLOCK_BOOTTIME`, seconds: a lease goes on while the machine sleeps, so both its sides must count that."""
        return _since_boot()

    def suspended_seconds(self) -> float:
        """`CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`, seconds; 0 where the former is not to be had."""
        return _suspended()


@dataclass(frozen=True, slots=True)
class Instant:
    """What a clock said at one moment."""

    monotonic: float
    suspended_seconds: float

    @classmethod
    def now(cls, clock: Clock) -> Instant:
        """Now."""
        return cls(clock.monotonic(), clock.suspended_seconds())


class Decider(Protocol[S_contra]):
    """Makes the decisions that need more than the log."""

    async def decide(self, state: S_contra, due: DecisionDue) -> NewFact | None:
        """The fact that records the decision; None to be asked again later.

        What it raises concerns this subject alone: it is logged, and the decision is asked for again later.
        """
        ...


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

    def rank(self, state: S_contra) -> tuple[int, int]:
        """Order among subjects that wait for room in the window: lowest first."""
        ...

    async def dispatch(self, partition: int, chunks: Sequence[tuple[S_contra, DispatchDue]]) -> Dispatched | None:
        """Send chunks; sending one twice is harmless. What cannot be sent hinders no other chunk.

        Returns:
            What was taken; None: all of it.

        Raises:
            RetryableError: no engine of these chunks takes anything now.
        """
        ...


class Observer(Protocol[S_contra]):
    """Is told what an owner did, for telemetry; it must not wait; what it raises is logged and changes nothing."""

    def folded(self, facts: int, seconds: float) -> None:
        """A batch was folded and acted on."""
        ...

    def published_end(self, state: S_contra) -> None:
        """An end was published and acknowledged (perhaps not for the first time)."""
        ...

    def lost(self) -> None:
        """A guarded call found that something had moved underneath."""
        ...


class NoObserver:
    """`Observer` that does not look."""

    def folded(self, facts: int, seconds: float) -> None:
        """Nothing."""

    def published_end(self, state: object) -> None:
        """Nothing."""

    def lost(self) -> None:
        """Nothing."""
