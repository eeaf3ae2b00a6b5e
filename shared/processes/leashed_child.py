"""A child process to talk to over pipes, on a leash: it and all that it starts are gone when this process is."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from shared.processes import leash


async def start_on_leash(command: tuple[str, ...], **pipes: Any) -> asyncio.subprocess.Process:
    """Start a command; the process that is returned is its leash, which ends as the command does.

    `pipes` are arguments of `asyncio.create_subprocess_exec`. The child dies with the thread that calls this.

    Raises:
        OSError: no process can be started.
    """
    with open(os.devnull, "wb") as nothing:  # noqa: ASYNC230, PTH123 - opening it takes no time
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(nothing.fileno()), "--", *command),
            start_new_session=True,  # a Ctrl-C at the terminal is for this process to handle
            pass_fds=(nothing.fileno(),),
            **pipes,
        )
