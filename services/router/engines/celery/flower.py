"""Flower on this mesh's Celery: `python -m services.router.engines.celery.flower [--port P] [--login-file F]`.

Read only: its pages cannot revoke tasks or stop workers. To end a job use `mesh cancel`; a revoked task could still
run. Without a log-in file anybody who reaches it sees everything: let it listen on a loopback or internal address only.
`/metrics` and `/healthcheck` never ask for a log-in.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import flower.options  # noqa: F401 - defines the option that is set here
from tornado.options import options

from services.router.engines.celery.app import make_celery_app
from shared.logs.setup import configure_logging
from shared.processes.service_process import settings_of_process
from shared.text.regular_file import read_regular_file

SERVICE_NAME = "eldermesh-flower"
DEFAULT_PORT = 5555
_MAX_LOGIN_BYTES = 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; ends the process."""
    parser = argparse.ArgumentParser(prog="celery_flower", description="Flower, read only.")
    parser.add_argument("--address", default="127.0.0.1", help="interface to listen on")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--login-file", type=Path, help="a file with one line, `user:password`, that browsers ask for")
    chosen = parser.parse_args(arguments)
    if chosen.login_file is not None:
        _ask_for_login(parser, chosen.login_file)
    settings = settings_of_process(SERVICE_NAME)
    configure_logging(settings, SERVICE_NAME)
    flower_options = [f"--address={chosen.address}", f"--port={chosen.port}", "--read_only", "--max_tasks=1000"]
    make_celery_app(settings).start(["flower", *flower_options])


def _ask_for_login(parser: argparse.ArgumentParser, file: Path) -> None:
    """Give Flower the log-in directly: as an argument or in the environment others could see it."""
    try:
        login = read_regular_file(file, _MAX_LOGIN_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        parser.error(f"the log-in file {file} cannot be read: {why}")
    user, colon, password = login.partition(":")
    if not (user and colon and password) or "\n" in login:
        parser.error(f"the log-in file {file} needs one line: user:password")
    if not login.isascii():
        parser.error(f"the log-in in {file} has characters that are not ASCII, which Flower cannot compare")
    options.basic_auth = [login]


if __name__ == "__main__":
    main()
