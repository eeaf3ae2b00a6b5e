"""Which attempts at items are in a job's cost: ranges of items, short while these come more or less in order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

_NO_ITEM = -1

ItemRanges = tuple[tuple[int, int], ...]
"""A set of items: inclusive ranges in ascending order, which do not touch. -1 stands for no item."""


def with_attempt(
    keys: Mapping[str, ItemRanges], epoch: int, attempt: int, item: int | None
) -> Mapping[str, ItemRanges]:
    """The keys with one more attempt; the same object if they have it."""
    key, item = f"{epoch}/{attempt}", _NO_ITEM if item is None else item
    ranges = keys.get(key, ())
    place = bisect_right(ranges, item, key=lambda each: each[0])
    if place > 0 and item <= ranges[place - 1][1]:
        return keys
    first = last = item
    begin = end = place
    if place > 0 and ranges[place - 1][1] == item - 1:
        begin, first = place - 1, ranges[place - 1][0]
    if place < len(ranges) and ranges[place][0] == item + 1:
        end, last = place + 1, ranges[place][1]
    return {**keys, key: (*ranges[:begin], (first, last), *ranges[end:])}


def _read(value: Any) -> Any:
    """Earlier releases wrote a list of `item/epoch/attempt`."""
    if not isinstance(value, list | tuple):
        return value
    keys: Mapping[str, ItemRanges] = {}
    for text in value:
        item, epoch, attempt = str(text).split("/")
        keys = with_attempt(keys, int(epoch), int(attempt), None if item == "None" else int(item))
    return keys


CostKeys = Annotated[Mapping[str, ItemRanges], BeforeValidator(_read)]
"""Ranges of items by `epoch/attempt`."""
