"""Started as a bare script, this imports the folder's modules, and answers requests until standard input ends."""

from __future__ import annotations

import sys

# Taken before user code runs, which may replace it.
from atexit import _run_exitfuncs
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from os import _exit
from pathlib import Path

_PACKAGE = "_eldermesh_item_host"
"""What this folder is to the modules in it: a name that no package of a user has. It is not on the import path."""


def main() -> None:
    """Answer requests, then end."""
    spec = spec_from_file_location(_PACKAGE, Path(__file__).with_name("__init__.py"))
    assert spec is not None  # noqa: S101 - for the type checker: that is a file of Python
    sys.modules[_PACKAGE] = module_from_spec(spec)
    import_module(f"{_PACKAGE}.conversation").serve()
    # Not by the end of the interpreter, which would wait for threads that user code has left.
    _run_exitfuncs()
    _exit(0)


if __name__ == "__main__":
    main()
