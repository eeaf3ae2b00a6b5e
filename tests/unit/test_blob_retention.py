"""Retention of blobs on a real directory."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from shared.blobs import retention
from shared.blobs.retention import Removal, remove_old_blobs, retained_directory
from shared.blobs.store import BlobStore
from shared.errors import ConfigurationError

DAY = 86400.0
LONG = 60.0


def written(path: Path, age: float, content: bytes = b"content") -> Path:
    """A blob, or a directory whose name ends with a slash, of this age."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    aged(path, age)
    return path


def stored(directory: Path) -> list[Path]:
    """All files."""
    return [path for path in directory.rglob("*") if path.is_file()]


def aged(path: Path, age: float) -> None:
    """Have it look as old as this."""
    then = time.time() - age
    os.utime(path, (then, then))


def run(directory: Path, *, most: int = 1000) -> Removal:
    """A run with a retention of a day."""
    return remove_old_blobs(directory, age_seconds=DAY, most=most, seconds=LONG)


def test_only_old_blobs_go(tmp_path: Path) -> None:
    """Also what a killed writer has left; the count and the size are told."""
    old = written(tmp_path / "default" / "job-1" / "0.json", DAY + 60)
    left = written(tmp_path / "default" / "job-1" / ".0.json.abc", DAY + 60)
    young = written(tmp_path / "default" / "job-2" / "0.json", DAY - 60)
    assert run(tmp_path) == Removal(2, 14, is_complete=True)
    assert not old.exists()
    assert not left.exists()
    assert young.read_bytes() == b"content"
    assert run(tmp_path) == Removal(0, 0, is_complete=True)


def test_empty_directories_go_once_they_are_as_old(tmp_path: Path) -> None:
    """Not at once: a writer may just have made one. The blob directory itself stays."""
    blob = written(tmp_path / "default" / "job-1" / "0.json", DAY + 60)
    run(tmp_path)
    assert blob.parent.is_dir()
    aged(blob.parent, DAY + 60)
    run(tmp_path)
    assert not blob.parent.exists()
    assert blob.parent.parent.is_dir()
    aged(tmp_path, DAY + 60)
    run(tmp_path)
    assert tmp_path.is_dir()


def test_a_run_is_bounded(tmp_path: Path) -> None:
    """The next one goes on."""
    for number in range(5):
        written(tmp_path / f"job-{number}" / "0.json", DAY + 60)
    removals = [run(tmp_path, most=2) for _ in range(3)]
    assert [(each.blobs, each.is_complete) for each in removals] == [(2, False), (2, False), (1, True)]
    written(tmp_path / "job" / "0.json", DAY + 60)
    assert remove_old_blobs(tmp_path, age_seconds=DAY, most=10, seconds=-1.0) == Removal(0, 0, is_complete=False)


def test_a_blob_that_is_replaced_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer replaces it between the look and the removal: the new one is put back."""
    blob = written(tmp_path / "job" / "0.json", DAY + 60)
    remove = retention._removed  # noqa: SLF001 - the moment between look and removal

    def replaced_before(path: Path, written_before: float) -> bool:
        path.with_name("new").write_bytes(b"new")
        path.with_name("new").replace(path)
        return remove(path, written_before)

    monkeypatch.setattr(retention, "_removed", replaced_before)
    assert run(tmp_path).blobs == 0
    assert blob.read_bytes() == b"new"
    assert [path.name for path in blob.parent.iterdir()] == ["0.json"]


async def test_runs_and_writers_at_once(tmp_path: Path) -> None:
    """Two runs over and over, and a writer in directories that they may remove: nobody fails, what is young stays."""
    store, stop, failures = BlobStore(str(tmp_path)), threading.Event(), list[BaseException]()

    def keep_removing() -> None:
        try:
            while not stop.is_set():
                run(tmp_path)
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=keep_removing) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(400):
            await store.put(f"job-{number % 3}/old.json", b"old")
            with suppress(FileNotFoundError):  # gone already
                aged(tmp_path / f"job-{number % 3}" / "old.json", DAY + 60)
                aged(tmp_path / f"job-{number % 3}", DAY + 60)
            if number % 4 == 0:
                await store.put(f"young-{number}/0.json", b"young")
    finally:
        stop.set()
        for thread in threads:
            thread.join(LONG)
        store.close()
    assert failures == []
    for path in stored(tmp_path):
        if path.name == "old.json":  # a run had moved it aside when it was to be aged, and has put it back
            aged(path, DAY + 60)
    run(tmp_path)
    assert {path.name for path in stored(tmp_path)} == {"0.json"}
    assert len(stored(tmp_path)) == 100


def test_missing_directory(tmp_path: Path) -> None:
    """Nothing was ever stored."""
    assert run(tmp_path / "blobs") == Removal(0, 0, is_complete=True)


def test_links_are_not_followed(tmp_path: Path) -> None:
    """What lies elsewhere is not the store's."""
    elsewhere = written(tmp_path / "elsewhere" / "0.json", DAY + 60)
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (blobs / "link").symlink_to(elsewhere.parent)
    run(blobs)
    assert elsewhere.exists()


def test_other_stores_have_rules_of_their_own() -> None:
    """The sentence says what to do."""
    with pytest.raises(ConfigurationError, match="lifecycle rule"):
        retained_directory("s3://bucket/blobs")
