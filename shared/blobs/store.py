"""The blob store: what is too large for a record, kept under `MESH_BLOB_URL` by fsspec."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from uuid import uuid4

from fsspec.core import url_to_fs

from shared.blobs.directory import blob_directory
from shared.errors import ConfigurationError, RetryableError
from shared.logs.exceptions import ends_the_task

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
_THREADS = 2

_FOR_GOOD = (
    ImportError,  # fsspec: a driver is missing
    ValueError,  # the protocol is unknown, a URL is none
    PermissionError,
    FileNotFoundError,  # a bucket
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
)
_ERRNOS_FOR_GOOD = frozenset({errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP})
"""Trying again would only hide these; whatever else a store says may be its network's trouble, and pass."""


class BlobStore:
    """Blobs by name.

    Args:
        url: fsspec URL below which all blobs lie, or a path.
        timeout_seconds: longest time one blob may take; a store that hangs holds at most `_THREADS` threads.

    Raises:
        ValueError: a file URL that names no directory (the settings refuse it before).
    """

    def __init__(self, url: str, *, timeout_seconds: float = 30.0) -> None:
        directory = blob_directory(url)
        self._url = url.rstrip("/") if directory is None else directory.as_uri().rstrip("/")
        self._directory = directory
        self._timeout_seconds = timeout_seconds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="blobs")

    async def put(self, name: str, content: bytes) -> str:
        """Store a blob, replacing one of the same name as a whole, and return its URL.

        Raises:
            RetryableError: the store failed or did not answer in time; the blob may or may not be there.
            ConfigurationError: the store can never take it: fsspec cannot serve the URL, rights, no such bucket.
            ValueError: `name` is no path of plain segments.
        """
        if not _NAME.fullmatch(name) or ".." in name.split("/") or "." in name.split("/"):
            raise ValueError(f"{name!r} is no blob name")
        url = f"{self._url}/{name}"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if self._directory is not None:
                    await self._in_thread(_replace_file, self._directory / name, content)
                else:
                    await self._in_thread(_put_object, url, content)
        except TimeoutError as error:
            raise RetryableError(f"the blob store did not take {name} in {self._timeout_seconds:g} s") from error
        except BaseException as error:  # each driver raises what it likes
            if ends_the_task(error):
                raise
            if isinstance(error, _FOR_GOOD) or (isinstance(error, OSError) and error.errno in _ERRNOS_FOR_GOOD):
                raise ConfigurationError(f"MESH_BLOB_URL cannot be used: {error}") from error
            raise RetryableError(f"the blob store did not take {name}: {error!r}") from error
        return url

    def close(self) -> None:
        """Let the threads go; one that hangs in the store is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, write: Callable[[T, bytes], None], where: T, content: bytes) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, write, where, content)


def _put_object(url: str, content: bytes) -> None:
    filesystem: Any
    filesystem, path = url_to_fs(url)
    filesystem.pipe_file(path, content)  # object stores put whole objects


def _replace_file(path: Path, content: bytes) -> None:
    """Write beside it, then rename: nobody reads half a blob."""
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with _opened(unfinished) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _opened(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path.open("wb")
    except FileNotFoundError:  # retention has just removed the empty directory
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
