"""Flower on this mesh's Celery: `python -m services.router.engines.celery.flower [--address A] [--port P]`.

Read only: its pages cannot revoke tasks or stop workers. To end a job use `mesh cancel`; a revoked task could still
run. Flower has no log-in here, so let it listen on a loopback or internal address only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from services.router.engines.celery.app import make_celery_app
from shared.logs.setup import configure_logging
from shared.processes.service_process import settings_of_process

SERVICE_NAME = "eldermesh-flower"
DEFAULT_PORT = 5555


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; ends the process."""
    parser = argparse.ArgumentParser(prog="celery_flower", description="Flower, read only.")
    parser.add_argument("--address", default="127.0.0.1", help="interface to listen on")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    chosen = parser.parse_args(arguments)
    settings = settings_of_process(SERVICE_NAME)
    configure_logging(settings, SERVICE_NAME)
    options = [f"--address={chosen.address}", f"--port={chosen.port}", "--read_only", "--max_tasks=1000"]
    make_celery_app(settings).start(["flower", *options])


if __name__ == "__main__":
    main()
