"""Chunk identities."""

from __future__ import annotations

import pytest

from shared.history.chunk_id import ChunkId


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
