"""A Celery worker that cannot take tasks any more once there is a file `fail` beside its ready file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from celery import signals

from services.router.engines.celery.worker import main


@signals.worker_ready.connect
def _watch(sender: Any, **_: Any) -> None:
    def fail() -> None:
        if Path(sys.argv[-1]).with_name("fail").exists():
            raise LookupError("the consumer has failed")

    sender.hub.on_tick.add(fail)


if __name__ == "__main__":
    sys.exit(main())
