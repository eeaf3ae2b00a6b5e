"""Coverage files of processes that were killed."""

from __future__ import annotations

from pathlib import Path

from coverage import CoverageData

from tests.coverage_files import remove_cut_off


def test_only_what_was_cut_off_goes(tmp_path: Path) -> None:
    """Empty files and those with a journal; whole ones, unreadable ones and other files stay."""
    whole = tmp_path / ".coverage.host.1.whole"
    data = CoverageData(str(whole))
    data.add_lines({"module.py": [1, 2]})
    data.write()
    data.close()
    (tmp_path / ".coverage.host.2.empty").touch()
    (tmp_path / ".coverage.host.3.torn").write_bytes(whole.read_bytes()[:1024])
    (tmp_path / ".coverage.host.3.torn-journal").write_bytes(b"journal")
    (tmp_path / ".coverage.host.4.broken").write_text("no data", encoding="utf-8")
    (tmp_path / ".coverage").touch()
    (tmp_path / "other").touch()

    remove_cut_off(tmp_path)

    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".coverage.host.1.whole", ".coverage.host.4.broken", ".coverage", "other"}
    again = CoverageData(str(whole))
    again.read()
    assert again.lines("module.py") == [1, 2]
