"""The entry point `mesh`."""

from __future__ import annotations

import os
import sys

from eldermesh.launch import own_modules_first


def main() -> None:
    """Run the command line of this process and exit with its status."""
    own_modules_first()
    _open_standard_streams()
    # Not before: the modules that it needs may have namesakes on `PYTHONPATH`.
    from eldermesh_cli.program.command_line import run

    sys.exit(run(sys.argv[1:]))


def _open_standard_streams() -> None:
    """Open closed standard streams on /dev/null, so that no socket gets their numbers; make the others blocking."""
    for descriptor in (0, 1, 2):
        try:
            os.set_blocking(descriptor, True)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


if __name__ == "__main__":
    main()
