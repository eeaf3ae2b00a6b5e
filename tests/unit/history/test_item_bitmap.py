"""Bitmaps of items."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.history.item_bitmap import added_items, all_items_in, has_item, missing_items, next_missing_item, with_items


@given(total=st.integers(1, 70), data=st.data())
def test_bitmaps_are_sets(total: int, data: st.DataObject) -> None:
    """All functions agree with a set of indexes, whatever the ranges and however short the bitmap."""
    items = data.draw(st.sets(st.integers(0, total - 1)))
    bitmap = with_items(b"", sorted(items), total)
    bitmap = bitmap[: data.draw(st.integers(0, len(bitmap)))] if data.draw(st.booleans()) else bitmap
    held = {index for index in items if index < 8 * len(bitmap)}
    first = data.draw(st.integers(0, total - 1))
    last = data.draw(st.integers(first, total - 1))
    assert {index for index in range(total) if has_item(bitmap, index)} == held
    missing = tuple(index for index in range(first, last + 1) if index not in held)
    assert missing_items(bitmap, first, last) == missing
    assert all_items_in(bitmap, first, last) == (not missing)
    assert next_missing_item(bitmap, first, last) == (missing[0] if missing else None)
    more = with_items(bitmap, sorted(data.draw(st.sets(st.integers(0, total - 1)))), total)
    assert list(added_items(bitmap, more)) == [i for i in range(total) if has_item(more, i) and not has_item(bitmap, i)]
    assert with_items(bitmap, sorted(items), total) == with_items(b"", sorted(items), total)
