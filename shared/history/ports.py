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


class Observer(Protocol[S_contra]):
    """Is told what an owner did, for telemetry; what it does must neither fail nor wait."""

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
