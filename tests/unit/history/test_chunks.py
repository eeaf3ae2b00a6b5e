"""Chunk identities and bitmaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.history.chunks import ChunkId, all_items_in, has_item, missing_items, with_items


def test_an_identity_reads_back() -> None:
    """`{job_id}/{stage}/{epoch}/{first}-{last}`."""
    chunk = ChunkId("00000000-0000-0000-0000-0000000000aa", 0, 3, 10, 19)
    assert str(chunk) == "00000000-0000-0000-0000-0000000000aa/0/3/10-19"
    assert ChunkId.parse(str(chunk)) == chunk


@pytest.mark.parametrize("text", ["", "job/0/1", "job/0/x/1-2", "job/0/1/2"])
def test_what_is_none_is_refused(text: str) -> None:
    """With a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        ChunkId.parse(text)


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
    assert with_items(bitmap, sorted(items), total) == with_items(b"", sorted(items), total)
