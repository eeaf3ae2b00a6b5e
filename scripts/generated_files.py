"""Files that a script writes and the repository holds: written, or compared with what the script would write."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_or_check(files: Mapping[Path, str], stale: Iterable[Path], *, check: bool, script: str) -> int:
    """Write the files and remove the stale ones; with `check` only compare them.

    Args:
        files: what has to be there, with its text.
        stale: what is there and should not be.
        check: compare, and name on standard error what differs, is missing, or is one too many.
        script: what to run when something differs.

    Returns:
        The exit status: 1 when a comparison found something, else 0.
    """
    stale = sorted(stale)
    if not check:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        for path in stale:
            path.unlink()
        return 0
    differing = [path for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in [*differing, *stale]:
        print(f"{path} is not what the registry says: run {script}", file=sys.stderr)
    return 1 if differing or stale else 0
