"""What an owner needs of its surroundings: clocks, a mind for decisions, engines to dispatch to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol, TypeVar

from shared.history.machine import DecisionDue, DispatchDue, NewFact

S_contra = TypeVar("S_contra", contravariant=True)


class Clock(Protocol):
    """Time, so that tests can drive it."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back; stands still for nobody."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """`CLOCK_MONOTONIC`, seconds."""
        return time.monotonic()


class Decider(Protocol[S_contra]):
    """Makes the decisions that need more than the log."""

    async def decide(self, state: S_contra, due: DecisionDue) -> NewFact | None:
        """The fact that records the decision; None to be asked again later."""
        ...


class Dispatcher(Protocol[S_contra]):
    """Sends chunks to engines."""

    def rank(self, state: S_contra) -> tuple[int, int]:
        """Order among subjects that wait for room in the window: lowest first."""
        ...

    async def dispatch(self, partition: int, chunks: Sequence[tuple[S_contra, DispatchDue]]) -> None:
        """Send chunks; sending one twice is harmless.

        Raises:
            RetryableError: the engine did not take them.
        """
        ...
