"""A pytest plug-in: what a process that was killed while it wrote its coverage has left is not read, nor warned of."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import CoverageData
from coverage.exceptions import CoverageException

_UNFINISHED = re.compile(r"\.pid\d+\.X\w{6}x(-journal)?$")
"""Coverage gives a file that it has written to its end a name that goes on with a hash of what is in it."""


@pytest.hookimpl(wrapper=True, trylast=True)  # inside pytest-cov's, which then combines the files
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """All tests have run, and no process of theirs is left: this is asked in the process above them alone."""
    result = yield
    if not hasattr(session.config, "workerinput"):
        remove_cut_off(session.config.invocation_params.dir)
    return result


def remove_cut_off(directory: Path) -> None:
    """Remove the data files that were not written to their end and cannot be combined, or have SQLite's journal.

    A kill that came a moment earlier would have left no file at all. Whatever else cannot be read is warned of.
    (The process of a fork that followed a save has no hash in its file's name either: such a file is whole.)
    """
    for file in sorted(directory.glob(".coverage.*")):  # a file comes before its journal
        if _UNFINISHED.search(file.name) and (file.name.endswith("-journal") or not _can_be_combined(file)):
            file.unlink()


def _can_be_combined(file: Path) -> bool:
    if file.with_name(f"{file.name}-journal").exists():
        return False
    data, combined = CoverageData(str(file), read_only=True), CoverageData(no_disk=True)
    try:
        data.read()
        combined.update(data)
    except CoverageException:
        return False
    finally:
        data.close(force=True)
        combined.close(force=True)
    return True
