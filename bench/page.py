"""The page of the docs with all figures: what one run measured, with its commit, date, machine and versions."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import Figure, circumstances

_ROOT = Path(__file__).resolve().parents[1]

_HEAD = """# Figures

For developers: what was measured last. `make figures` writes it, from one run; with `ARGS="noop burst"` these alone.
What each means is in [benchmarks](benchmarks.md).
"""


class Page:
    """The page, of what runs from now on; it may be written again and again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._about = _facts(circumstances())

    def write(self, measured: Mapping[str, Sequence[Figure]]) -> None:
        """Write the figures of benchmarks, by the benchmark's name, as Markdown."""
        parts = [_HEAD, self._about]
        for name, figures in measured.items():
            parts += [f"## `{name}`\n", _table(figures)]
        self._path.write_text("\n".join(parts), encoding="utf-8")


def _facts(about: Mapping[str, Any]) -> str:
    machine, versions = about["machine"], about["versions"]
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"Commit {_commit()}, {about['measured_at'][:10]}; {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"Python {machine['python']}, load {machine['load_before']} before; {told}.\n"
    )


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD").strip()
    return f"{commit} with changes" if _git("status", "--porcelain", "--untracked-files=no").strip() else commit


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments],  # noqa: S607 - the git that the developer uses
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def _table(figures: Sequence[Figure]) -> str:
    lines = ["| figure | broker | value | raw | ratio | goal |", "|---|---|---:|---:|---:|---|"]
    for figure in figures:
        cells = (figure.name.strip(), figure.broker, *figure.told())
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
