"""The blob store on a directory and in fsspec's memory."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import ValidationError

from shared.blobs.directory import blob_directory
from shared.blobs.store import BlobStore
from shared.errors import ConfigurationError, RetryableError
from shared.settings import Settings


async def test_a_blob_in_a_directory(tmp_path: Path) -> None:
    """It is written as a whole, replaces a former one, and leaves nothing else there."""
    store = BlobStore((tmp_path / "blobs").as_uri())
    assert await store.put("tenant/job/1.json", b"one") == (tmp_path / "blobs/tenant/job/1.json").as_uri()
    await store.put("tenant/job/1.json", b"two")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "blobs/tenant/job").iterdir()] == [
        ("1.json", b"two")
    ]
    store.close()


def _files_below(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name", ["my data", "a#b", "50%", "50%20", "q?x", "données", "a::b", "line\nend", "blank ", "\udce9", "file:", "~"]
)
async def test_a_directory_with_any_name(name: str, tmp_path: Path) -> None:
    """The file lies where the URL, decoded as file URLs are, says; nothing is written beside the directory."""
    directory = tmp_path / name / "blobs"
    store = BlobStore(directory.as_uri())
    url = await store.put("job/1.json", b"content")
    store.close()
    decoded = os.fsdecode(unquote_to_bytes(urlsplit(url).path))
    assert decoded == str(directory / "job" / "1.json")
    assert _files_below(tmp_path) == {decoded: b"content"}


async def test_a_directory_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed without a scheme is a path; the URL says where it is all the same."""
    monkeypatch.chdir(tmp_path)
    for typed, expected in (("my data#1", tmp_path / "my data#1"), (str(tmp_path / "50%"), tmp_path / "50%")):
        store = BlobStore(typed)
        assert await store.put("a", b"1") == (expected / "a").as_uri()
        store.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:/srv/blobs", "/srv/blobs"),
        ("file://localhost/srv/my%20blobs", "/srv/my blobs"),
        ("FILE:///srv", "/srv"),
        ("/srv/a b", "/srv/a b"),
        ("s3://bucket/x", None),
        ("memory::x", None),
    ],
)
def test_forms_of_a_file_url(url: str, expected: str | None) -> None:
    """Each form that RFC 8089 knows; what is no file is left to fsspec."""
    assert blob_directory(url) == (None if expected is None else Path(expected))


@pytest.mark.parametrize("url", ["file://host/srv", "file:///srv#a", "file:///srv?x", "file:srv", "file://", "file:"])
def test_a_file_url_that_names_no_directory(url: str) -> None:
    """The settings refuse it, before anything is stored somewhere else."""
    with pytest.raises(ValidationError, match="%3F"):
        Settings(blob_url=url, _env_file=None)


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


async def test_a_directory_that_cannot_take_a_blob_is_a_matter_of_configuration(tmp_path: Path) -> None:
    """A file stands where a directory would have to be: asking again would hide that for minutes."""
    (tmp_path / "a").write_text("in the way", encoding="ascii")
    store = BlobStore(tmp_path.as_uri())
    with pytest.raises(ConfigurationError, match="MESH_BLOB_URL"):
        await store.put("a/b", b"")
    store.close()


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (PermissionError("403: these keys may not write"), ConfigurationError),
        (FileNotFoundError("the bucket does not exist"), ConfigurationError),
        (OSError(errno.EROFS, "read-only file system"), ConfigurationError),
        (OSError(errno.ENOSPC, "no space left"), RetryableError),
        (ConnectionResetError("reset by peer"), RetryableError),
        (RuntimeError("503: slow down"), RetryableError),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_what_a_store_says_is_asked_again_only_if_it_may_pass(
    error: Exception, decision: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights and a bucket that is not there are told at once, whatever driver says so."""

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    store = BlobStore("memory://blobs")
    with pytest.raises(decision):
        await store.put("a", b"")
    store.close()
