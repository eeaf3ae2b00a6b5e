"""`make bench` runs, and measures something: its figures are read by people, and by nothing that would notice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["noop", "tracing", "advice", "fold", "burst", "items", "ended", "claude"])
def test_it_measures(name: str, tmp_path: Path) -> None:
    """Few jobs on the embedded broker; each figure, and what stands beside it, is more than nothing."""
    written, page = tmp_path / "figures.json", tmp_path / "figures.md"
    few = (
        "--broker",
        "embedded",
        "--jobs",
        "20",
        "--folded-jobs",
        "100",
        "--burst",
        "100",
        "--items",
        "100",
        "--ended",
        "500",
        "--json",
        str(written),
        "--page",
        str(page),
    )
    ran = subprocess.run(
        [sys.executable, "-m", "bench", name, *few], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(written.read_text("utf-8"))["figures"]
    assert figures
    for figure in figures:
        assert figure["value"] > 0, figure
        assert figure["raw"] is None or figure["raw"] > 0, figure
        assert figure["name"].strip() in page.read_text("utf-8")
