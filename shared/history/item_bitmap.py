"""Which items of a job have their result: a bitmap in which item i is bit 7 - i % 8 of byte i // 8, as in Redis."""

from __future__ import annotations


def missing_items(bitmap: bytes, first: int, last: int) -> tuple[int, ...]:
    """The items of `first..last` without a result."""
    return tuple(i for i in range(first, last + 1) if not has_item(bitmap, i))


def all_items_in(bitmap: bytes, first: int, last: int) -> bool:
    """Whether every item of `first..last` has its result."""
    low, high = first >> 3, last >> 3
    bits = int.from_bytes(bitmap[low : high + 1].ljust(high + 1 - low, b"\0"), "big")
    width = 8 * (high + 1 - low)
    mask = (1 << (last - first + 1)) - 1 << width - 1 - (last - 8 * low)
    return bits & mask == mask


def has_item(bitmap: bytes, index: int) -> bool:
    """Whether the item has its result."""
    byte = index >> 3
    return byte < len(bitmap) and bool(bitmap[byte] & (0x80 >> (index & 7)))


def with_items(bitmap: bytes, indexes: list[int], total: int) -> bytes:
    """The bitmap, grown to `total` items, with the items `indexes` added."""
    grown = bytearray(bitmap.ljust((total + 7) // 8, b"\0"))
    for index in indexes:
        grown[index >> 3] |= 0x80 >> (index & 7)
    return bytes(grown)
