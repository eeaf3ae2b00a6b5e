"""`python -m services.claude_exec.loopback`: the loopback endpoint, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from services.claude_exec.loopback.script import Script
from services.claude_exec.loopback.server import loopback_host, serve
from shared.errors import MeshError
from shared.logs.setup import configure_logging, get_logger
from shared.processes.service_process import settings_of_process

_SERVICE_NAME = "eldermesh-claude-loopback"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="loopback", description="A deterministic stand-in for the Anthropic Messages API, on this machine only."
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument(
        "--inside",
        metavar="NAME",
        help="listen on all addresses, and answer containers of the same network, which call it NAME",
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free one, which the log and --ready-file tell")
    parser.add_argument("--script", type=Path, help="a file (YAML or JSON) of answers; see docs/how-to/loopback.md")
    parser.add_argument("--ready-file", type=Path, help="gets the base address once the endpoint listens")
    return parser.parse_args(arguments)


async def _main(chosen: argparse.Namespace, script: Script) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await serve(
        script, stopping, host=chosen.host, inside=chosen.inside, port=chosen.port, ready_file=chosen.ready_file
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 after a stop in order, 1 when it cannot serve."""
    chosen = _arguments(arguments)
    configure_logging(settings_of_process(_SERVICE_NAME), _SERVICE_NAME)
    try:
        loopback_host(chosen.host)
        script = Script() if chosen.script is None else Script.load(chosen.script)
        asyncio.run(_main(chosen, script))
    except MeshError as error:
        get_logger(__name__).error("loopback endpoint failed", reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
