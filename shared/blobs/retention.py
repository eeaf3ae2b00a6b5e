"""Retention of blobs: what is old enough is removed from a blob directory, while others write to it and do the same."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from shared.blobs.directory import blob_directory
from shared.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Removal:
    """What a run has removed; `is_complete` is false if it reached a limit and the next run goes on."""

    blobs: int
    size_bytes: int
    is_complete: bool


def retained_directory(url: str) -> Path:
    """The directory whose blobs can be removed.

    Raises:
        ConfigurationError: the blobs are in another store.
    """
    directory = blob_directory(url)
    if directory is None:
        raise ConfigurationError(
            "MESH_BLOB_RETENTION_SECONDS is for a directory only: give the bucket of MESH_BLOB_URL a lifecycle rule"
        )
    return directory


def remove_old_blobs(directory: Path, *, age_seconds: float, most: int, seconds: float) -> Removal:
    """Remove blobs that were written more than `age_seconds` ago, and directories that have been empty for as long.

    A run removes at most `most` blobs and takes about `seconds`. It looks at directories in random order, so that a
    large store is seen in several runs.

    Raises:
        OSError: a directory cannot be read, or a blob cannot be removed.
    """
    written_before = time.time() - age_seconds
    give_up_at = time.monotonic() + seconds
    blobs = size_bytes = 0
    for path in _below(directory):
        if blobs >= most or time.monotonic() > give_up_at:
            return Removal(blobs, size_bytes, is_complete=False)
        with suppress(FileNotFoundError):  # another run was faster
            status = path.lstat()
            if status.st_mtime >= written_before:
                continue
            if path.is_dir() and not path.is_symlink():
                _remove_if_empty(path)
            elif _removed(path, written_before):
                blobs += 1
                size_bytes += status.st_size
    return Removal(blobs, size_bytes, is_complete=True)


def _below(directory: Path) -> Iterator[Path]:
    """Everything below a directory, and each directory after what is in it. Links are not followed."""
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:  # nothing was stored yet, or another run has removed it
        return
    random.shuffle(entries)
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _below(path)
        yield path


def _removed(path: Path, written_before: float) -> bool:
    """Remove a blob, but not the one by which a writer has replaced it since it was looked at.

    So it is moved aside, looked at once more, and put back if it is a new one.
    """
    aside = path.with_name(f".{uuid4().hex}.removed")
    path.rename(aside)
    if aside.lstat().st_mtime < written_before:
        aside.unlink()
        return True
    with suppress(FileExistsError):  # a newer one already
        path.hardlink_to(aside)
    aside.unlink()
    return False


def _remove_if_empty(directory: Path) -> None:
    with suppress(OSError):  # something is in it
        directory.rmdir()
