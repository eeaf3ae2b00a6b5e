"""Which items of a job have their result: a bitmap in which item i is bit 7 - i % 8 of byte i // 8, as in Redis."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FULL = 0xFF
_NOT_FULL = re.compile(rb"[^\xff]", re.DOTALL)
_NOT_EMPTY = re.compile(rb"[^\0]", re.DOTALL)


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


def next_missing_item(bitmap: bytes, first: int, last: int) -> int | None:
    """The first item of `first..last` without a result. What has one is passed over by the byte, not by the item."""
    byte, bit = first >> 3, first & 7
    if byte >= len(bitmap):
        return first if first <= last else None
    # Items of the first byte that come before `first` count as if they were in.
    if bitmap[byte] | (0xFF00 >> bit & 0xFF) == _FULL:
        found = _NOT_FULL.search(bitmap, byte + 1)
        byte, bit = len(bitmap) if found is None else found.start(), 0
    item = 8 * byte + bit
    while has_item(bitmap, item):
        item += 1
    return item if item <= last else None


def added_items(before: bytes, after: bytes) -> Iterator[int]:
    """The items that have a result in `after` and had none in `before`."""
    size = max(len(before), len(after))
    old, new = (int.from_bytes(bitmap.ljust(size, b"\0"), "big") for bitmap in (before, after))
    added = (new & ~old).to_bytes(size, "big")
    for found in _NOT_EMPTY.finditer(added):
        byte = found.start()
        yield from (8 * byte + bit for bit in range(8) if added[byte] & 0x80 >> bit)


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
