"""Health checks of router, workers, Beat and Ray: `python -m services.router.health router|worker|beat|ray`.

Exit status 0 if healthy; else 1, and one line that says what is wrong. A process that cannot go on needs no check: it
ends by itself and says why. Where `MESH_HEARTBEAT_FILE` is set, its age alone decides; Ray's nodes write none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from shared.health.heartbeat import heartbeat_status


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the named part; worker and Ray node are those of this host."""
    parser = argparse.ArgumentParser(prog="health", description="Is it at work?")
    parser.add_argument("part", choices=("router", "worker", "beat", "ray"))
    part = parser.parse_args(arguments).part
    status = None if part == "ray" else heartbeat_status()
    return _asked(part) if status is None else status


def _asked(part: str) -> int:
    # Here and not above: these take seconds, which a look at a heartbeat must not.
    from services.router.engines.celery.health import this_worker_trouble  # noqa: PLC0415
    from services.router.engines.ray.health import ray_trouble  # noqa: PLC0415
    from shared.health.container_check import check_health  # noqa: PLC0415
    from shared.health.parts import CELERY_RUNNERS, RAY_RUNNERS, ROUTER  # noqa: PLC0415

    match part:
        case "router":
            return check_health(ROUTER.trouble)
        case "worker":
            return check_health(CELERY_RUNNERS.trouble, this_worker_trouble)
        case "ray":
            return check_health(RAY_RUNNERS.trouble, ray_trouble)
        case _:
            sys.stderr.write("Beat tells by its heartbeat alone: set MESH_HEARTBEAT_FILE\n")
            return 1


if __name__ == "__main__":
    sys.exit(main())
