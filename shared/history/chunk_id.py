"""A chunk's identity: which items, of which plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChunkId:
    """`{job_id}/{stage}/{epoch}/{first}-{last}`: an inclusive range of items; the epoch is the fencing token."""

    job_id: str
    stage: int
    epoch: int
    first: int
    last: int

    def __str__(self) -> str:
        return chunk_text(self.job_id, self.stage, self.epoch, self.first, self.last)

    @classmethod
    def parse(cls, text: str) -> ChunkId:
        """Read an identity back.

        Raises:
            ValueError: `text` is no chunk identity.
        """
        job_id, stage, epoch, span = text.split("/")
        first, last = span.split("-")
        return cls(job_id, int(stage), int(epoch), int(first), int(last))


def chunk_text(job_id: str, stage: int, epoch: int, first: int, last: int) -> str:
    """The identity as text."""
    return f"{job_id}/{stage}/{epoch}/{first}-{last}"
