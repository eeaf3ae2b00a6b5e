"""A pytest plug-in: what a process that was killed while it wrote its coverage has left is not read, nor warned of."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

_JOURNAL = "-journal"


@pytest.hookimpl(wrapper=True, trylast=True)  # inside pytest-cov's, which then combines the files
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """All tests have run, and no process of theirs is left: this is asked in the process above them alone."""
    result = yield
    if not hasattr(session.config, "workerinput"):
        remove_cut_off(session.config.invocation_params.dir)
    return result


def remove_cut_off(directory: Path) -> None:
    """Remove the data files that hold nothing, or that were not written to their end: SQLite's journal is still there.

    A kill that came a moment earlier would have left no file at all. Whatever else cannot be read is warned of.
    """
    for file in directory.glob(".coverage.*"):
        if file.name.endswith(_JOURNAL):
            file.with_name(file.name.removesuffix(_JOURNAL)).unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        elif file.exists() and file.stat().st_size == 0:
            file.unlink()
