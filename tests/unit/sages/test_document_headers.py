"""What the headers of a document say, and headers that say nothing."""

from __future__ import annotations

import pytest

from shared.documents import COLLECTION_HEADER, HASH_HEADER, PASSAGES_HEADER, PATH_HEADER, IndexedAs


def _headers(passages: bytes) -> list[tuple[str, bytes | None]]:
    said = {COLLECTION_HEADER: b"docs", PATH_HEADER: b"a.md", HASH_HEADER: b"abc", PASSAGES_HEADER: passages}
    return list(said.items())


def test_headers_are_read() -> None:
    """Collection, path, hash and the number of passages."""
    assert IndexedAs.read(_headers(b"12")) == IndexedAs("docs", "a.md", "abc", 12)


@pytest.mark.parametrize("passages", [b"", b"-1", b"1.5", b"many", b"9" * 10, b"9" * 5000], ids=lambda raw: raw[:12])
def test_a_number_of_passages_that_is_none(passages: bytes) -> None:
    """Anybody may write a document: one whose headers cannot be read says nothing, and stops no reader."""
    assert IndexedAs.read(_headers(passages)) is None
