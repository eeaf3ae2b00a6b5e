"""The verbs that run a mesh on this machine, one a file.

They work on a data directory: what runs there is found by its runtime file and asked over its control socket.
"""

from __future__ import annotations

import typer

from eldermesh.cli.stack_verbs import down, env, logs, ps, up


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (up, down, ps, logs, env):
        verb.register(app)
