"""Celery Beat: `python -m services.router.engines.celery.beat`, which sends housekeeping tasks in regular intervals.

It keeps no schedule file: after a restart a task comes due one interval later, which housekeeping can bear, and so the
replicas of a Beat share nothing.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

from celery import beat

from services.router.engines.celery.app import make_celery_app
from services.router.engines.celery.housekeeping import add_schedule
from shared.errors import ConfigurationError
from shared.health.heartbeat import BEAT_SECONDS, Heartbeat
from shared.logs.setup import configure_logging, get_logger
from shared.processes.service_process import settings_of_process

SERVICE_NAME = "eldermesh-celery-beat"

_log = get_logger(__name__)


def main() -> int:
    """Send tasks until SIGTERM or SIGINT; 2 if the settings are wrong."""
    settings = settings_of_process(SERVICE_NAME)
    configure_logging(settings, SERVICE_NAME)
    app = make_celery_app(settings)
    try:
        add_schedule(app, settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{SERVICE_NAME} does not start: {error}\n")
        return 2
    heartbeat = Heartbeat(settings.heartbeat_file)

    class Scheduler(beat.Scheduler):
        def tick(self) -> float:  # type: ignore[override]  # its other parameters are for Celery's own tests
            """Send what is due.

            The first task waits until Redis answers, without a heartbeat; a later one that Redis does not take is
            logged, and comes due again an interval later.
            """
            seconds = super().tick()
            if (trouble := heartbeat.beat()) is not None:
                _log.error("no heartbeat", reason=trouble)
            return seconds

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    app.finalize()
    _log.info("beat started", tasks=sorted(app.conf.beat_schedule))
    try:
        beat.Service(app, max_interval=round(BEAT_SECONDS), scheduler_cls=Scheduler).start()
    finally:
        heartbeat.end()
        app.close()
    _log.info("beat stopped")
    return 0


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit


if __name__ == "__main__":
    sys.exit(main())
