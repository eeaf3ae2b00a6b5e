"""What sages that learn have in common: one memory, and that they are warming until it has caught up."""

from __future__ import annotations

from services.sages.memory.table import Memory


class LearningSage:
    """Base of sages that learn from topics: it has one memory, open from `remember` to `close`.

    Attributes:
        memory: None until the sage starts.
    """

    def __init__(self) -> None:
        self.memory: Memory | None = None

    async def remember(self, memory: Memory) -> None:
        """Start a memory."""
        self.memory = memory
        await memory.start()

    @property
    def is_warming(self) -> bool:
        """Whether records that were there at the start are still unread."""
        return self.memory is None or self.memory.is_warming

    async def close(self) -> None:
        """Close the memory."""
        if self.memory is not None:
            await self.memory.close()
