"""Who is told what an owner did."""

from __future__ import annotations

from typing import Protocol, TypeVar

S_contra = TypeVar("S_contra", contravariant=True)


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
