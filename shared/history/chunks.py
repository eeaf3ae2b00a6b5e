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
        return f"{self.job_id}/{self.stage}/{self.epoch}/{self.first}-{self.last}"

    @classmethod
    def parse(cls, text: str) -> ChunkId:
        """Read an identity back.

        Raises:
            ValueError: `text` is no chunk identity.
        """
        job_id, stage, epoch, span = text.split("/")
        first, last = span.split("-")
        return cls(job_id, int(stage), int(epoch), int(first), int(last))


def missing_items(bitmap: bytes, first: int, last: int) -> tuple[int, ...]:
    """The items of `first..last` that are not in yet; item i is bit 7 - i % 8 of byte i // 8 (Redis' GETBIT order)."""
    return tuple(i for i in range(first, last + 1) if not has_item(bitmap, i))


def all_items_in(bitmap: bytes, first: int, last: int) -> bool:
    """Whether no item of `first..last` is missing."""
    low, high = first >> 3, last >> 3
    bits = int.from_bytes(bitmap[low : high + 1].ljust(high + 1 - low, b"\0"), "big")
    width = 8 * (high + 1 - low)
    mask = (1 << (last - first + 1)) - 1 << width - 1 - (last - 8 * low)
    return bits & mask == mask


def has_item(bitmap: bytes, index: int) -> bool:
    """Whether the item's result is in."""
    byte = index >> 3
    return byte < len(bitmap) and bool(bitmap[byte] & (0x80 >> (index & 7)))


def with_items(bitmap: bytes, indexes: list[int], total: int) -> bytes:
    """A bitmap of `total` items in which `indexes` are in, too."""
    grown = bytearray(bitmap.ljust((total + 7) // 8, b"\0"))
    for index in indexes:
        grown[index >> 3] |= 0x80 >> (index & 7)
    return bytes(grown)
