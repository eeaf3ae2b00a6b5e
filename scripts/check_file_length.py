"""Fail when a Python file is longer than the cap: a file that needs more is two files.

Usage: check_file_length.py [DIRECTORY ...] (default: the packages, examples, scripts and tests of this project)
"""

import sys
from pathlib import Path

MAX_LINES = 500
DEFAULT_DIRECTORIES = ("bench", "eldermesh", "eldermesh_cli", "examples", "services", "shared", "scripts", "tests")


def too_long(directories: list[Path]) -> list[tuple[Path, int]]:
    """Files below `directories` with more than `MAX_LINES` lines, with their number of lines."""
    counted = ((path, len(path.read_bytes().splitlines())) for top in directories for path in sorted(top.rglob("*.py")))
    return [(path, lines) for path, lines in counted if lines > MAX_LINES]


def main(arguments: list[str]) -> int:
    """Name the files that are too long; exit status 1 when there is one, 2 when a directory is missing."""
    root = Path(__file__).resolve().parent.parent
    directories = [Path(argument) for argument in arguments] or [root / name for name in DEFAULT_DIRECTORIES]
    if missing := [str(directory) for directory in directories if not directory.is_dir()]:
        print(f"no such directory: {', '.join(missing)}", file=sys.stderr)
        return 2
    found = too_long(directories)
    for path, lines in found:
        print(f"{path}: {lines} lines, at most {MAX_LINES}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
