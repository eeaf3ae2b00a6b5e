"""The heartbeat of a Celery worker: written from the loop in which it takes tasks."""

from __future__ import annotations

from typing import Any

from celery import Celery, bootsteps

from shared.health.heartbeat import BEAT_SECONDS, Heartbeat
from shared.logs.setup import get_logger

_log = get_logger(__name__)


def add_heartbeat(app: Celery, heartbeat: Heartbeat) -> None:
    """Have the workers of this application beat while they take tasks; without Redis they take none."""

    class HeartbeatStep(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer.tasks:Tasks",)
        beating: Any = None

        def start(self, parent: Any) -> None:
            self.beating = parent.timer.call_repeatedly(BEAT_SECONDS, _beat, (heartbeat,))
            _beat(heartbeat)

        def stop(self, parent: Any) -> None:  # noqa: ARG002 - as Celery calls it
            if self.beating is not None:
                self.beating.cancel()
                self.beating = None

    app.steps["consumer"].add(HeartbeatStep)


def _beat(heartbeat: Heartbeat) -> None:
    if (trouble := heartbeat.beat()) is not None:
        _log.error("no heartbeat", reason=trouble)
