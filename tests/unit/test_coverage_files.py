"""Coverage files of processes that were killed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from coverage import CoverageData

from tests.coverage_files import remove_cut_off

_LINES = {f"module_{number}.py": range(1, 500) for number in range(200)}


def _written(path: Path) -> bytes:
    """What a process has in its data file before it ends; the name has no hash yet."""
    data = CoverageData(str(path))
    data.add_lines(_LINES)
    data.write()
    data.close(force=True)
    return path.read_bytes()


def test_only_what_was_cut_off_goes(tmp_path: Path) -> None:
    """At any point of its writing; whole ones, unreadable ones that were finished, and other files stay."""
    whole = tmp_path / ".coverage.host.pid1.Xabcdefx"
    written = _written(whole)
    for size in (0, 1024, len(written) // 2, len(written) - 4096):
        (tmp_path / f".coverage.host.pid2.X{size:06}x").write_bytes(written[:size])
    without_version = tmp_path / ".coverage.host.pid3.Xabcdefx"
    without_version.write_bytes(written)
    with closing(sqlite3.connect(without_version)) as database:
        database.execute("DELETE FROM coverage_schema")
        database.commit()
    (tmp_path / ".coverage.host.pid4.Xabcdefx").write_bytes(written)
    (tmp_path / ".coverage.host.pid4.Xabcdefx-journal").write_bytes(b"journal")
    (tmp_path / ".coverage.host.pid5.Xabcdefx.H0123456789h").write_text("no data", encoding="utf-8")
    (tmp_path / ".coverage.of-another").write_text("no data", encoding="utf-8")
    (tmp_path / ".coverage").touch()
    (tmp_path / "other").touch()

    remove_cut_off(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {
        ".coverage.host.pid1.Xabcdefx",
        ".coverage.host.pid5.Xabcdefx.H0123456789h",
        ".coverage.of-another",
        ".coverage",
        "other",
    }
    again = CoverageData(str(whole))
    again.read()
    assert again.lines("module_7.py") == list(_LINES["module_7.py"])
