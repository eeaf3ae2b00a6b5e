"""Progress on standard error: a bar where somebody looks, lines elsewhere, nothing with `--json`."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from eldermesh_cli.terminal import progress_bar
from eldermesh_cli.terminal.output import Output
progress_bar._LINE_EVERY_SECONDS = 0.0
with progress_bar.ItemsBar(Output("--json" in sys.argv), 90) as bar:
    bar.move(30)
    bar.move(90)
"""


@pytest.mark.parametrize(("option", "lines"), [("", ["30 of 90", "90 of 90"]), ("--json", [])])
def test_nobody_looks(option: str, lines: list[str]) -> None:
    """In a pipe there is a line for each step, on standard error; with --json there is nothing."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, option], capture_output=True, text=True, timeout=120, check=True
    )

    assert ran.stdout == ""
    assert ran.stderr.splitlines() == [f"{line} items have ended" for line in lines]


def test_somebody_looks() -> None:
    """On a terminal a bar moves, and is gone in the end."""
    ours, theirs = pty.openpty()
    try:
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            stderr=theirs,
            stdout=subprocess.PIPE,
            env=environment,
            timeout=120,
            check=True,
        )
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(theirs)
        os.close(ours)

    assert ran.stdout == b""
    assert re.search(r"90/90", shown)
    assert shown.rstrip().endswith("\x1b[2K") or shown.rstrip().endswith("\x1b[?25h"), repr(shown[-80:])
