"""A sage that learns from topics: it keeps one memory, which is open between its start and its end."""

from __future__ import annotations

from services.sages.memory.table import Memory


class LearningSage:
    """What such sages share.

    Attributes:
        memory: None until the sage starts.
    """

    def __init__(self) -> None:
        self.memory: Memory | None = None

    async def remember(self, memory: Memory) -> None:
        """Begin to read."""
        self.memory = memory
        await memory.start()

    @property
    def is_warming(self) -> bool:
        """Whether records that were there at the start are not read yet."""
        return self.memory is None or self.memory.is_warming

    async def close(self) -> None:
        """Stop reading."""
        if self.memory is not None:
            await self.memory.close()
