"""Who makes the decisions that need more than the log."""

from __future__ import annotations

from typing import Protocol, TypeVar

from shared.history.machine import DecisionDue, NewFact

S_contra = TypeVar("S_contra", contravariant=True)


class Decider(Protocol[S_contra]):
    """Makes the decisions that need more than the log."""

    async def decide(self, state: S_contra, due: DecisionDue) -> NewFact | None:
        """The fact that records the decision; None to be asked again later.

        What it raises concerns this subject alone: it is logged, and the decision is asked for again later.
        """
        ...
