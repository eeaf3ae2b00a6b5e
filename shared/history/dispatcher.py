"""Who sends chunks to engines, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from shared.history.machine import DispatchDue

S_contra = TypeVar("S_contra", contravariant=True)


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
