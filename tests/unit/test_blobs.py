"""The blob store on a directory and in fsspec's memory."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from shared.blobs import BlobStore
from shared.errors import ConfigurationError, RetryableError


async def test_a_blob_in_a_directory(tmp_path: Path) -> None:
    """It is written as a whole, replaces a former one, and leaves nothing else there."""
    store = BlobStore((tmp_path / "blobs").as_uri())
    assert await store.put("tenant/job/1.json", b"one") == (tmp_path / "blobs/tenant/job/1.json").as_uri()
    await store.put("tenant/job/1.json", b"two")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "blobs/tenant/job").iterdir()] == [
        ("1.json", b"two")
    ]
    store.close()


async def test_a_blob_in_another_store() -> None:
    """Whatever fsspec knows."""
    store = BlobStore("memory://blobs/")
    url = await store.put("a/b.json", b"content")
    assert url == "memory://blobs/a/b.json"
    with fsspec.open(url) as file:
        assert file.read() == b"content"
    store.close()


@pytest.mark.parametrize("name", ["", "/a", "a/", "../a", "a/../b", "a//b", "a b", "a/./b", "é"])
async def test_names_cannot_leave_the_store(name: str, tmp_path: Path) -> None:
    """A name is a path of plain segments."""
    store = BlobStore(tmp_path.as_uri())
    with pytest.raises(ValueError, match="no blob name"):
        await store.put(name, b"")
    store.close()


async def test_a_store_that_nobody_can_serve_is_a_matter_of_configuration() -> None:
    """The message says what is missing."""
    store = BlobStore("nosuchprotocol://bucket")
    with pytest.raises(ConfigurationError, match="MESH_BLOB_URL"):
        await store.put("a", b"")
    store.close()


async def test_a_store_that_fails_may_be_asked_again(tmp_path: Path) -> None:
    """A file stands where a directory would have to be."""
    (tmp_path / "a").write_text("in the way", encoding="ascii")
    store = BlobStore(tmp_path.as_uri())
    with pytest.raises(RetryableError):
        await store.put("a/b", b"")
    store.close()
