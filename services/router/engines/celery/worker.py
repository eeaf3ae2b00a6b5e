"""A Celery worker: `python -m services.router.engines.celery.worker [--queues a,b] [--ready-file PATH]`.

Prefork: each child takes one chunk at a time in its main thread, and has one event loop thread for claims, heartbeats
and results. A child dies with the worker, and an item's process with its child, however they die.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from celery import Celery, Task, signals

from services.router.engines.celery.app import DEFAULT_PRIORITY, QUEUES, RUN_CHUNK, make_celery_app
from services.router.engines.celery.broker import BROKER_ERRORS, worker_failed
from services.router.engines.celery.heartbeat_step import add_heartbeat
from services.router.engines.celery.housekeeping import add_housekeeping
from services.router.engines.celery.runner_thread import RunnerThread
from services.router.engines.chunks.task import ChunkOutcome
from shared.errors import RetryableError, StopServiceError
from shared.health.heartbeat import Heartbeat
from shared.logs.setup import configure_logging, get_logger
from shared.processes.garbage_collection import collect_seldom
from shared.processes.service_process import settings_of_process
from shared.settings import Settings
from shared.telemetry.setup import configure_telemetry, shutdown_telemetry

SERVICE_NAME = "eldermesh-celery-worker"

_STOP_SECONDS = 10.0
_INTERRUPT_SECONDS = 8.0
"""Time for interrupted runs to stop and to publish that."""

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0

_log = get_logger(__name__)


class CeleryWorker:
    """The worker: its own process, and its forked children.

    It takes tasks from `queues`, with `slots` children. `ready_file` exists while it takes tasks.
    """

    def __init__(self, settings: Settings, *, queues: Sequence[str] = QUEUES, ready_file: Path | None = None) -> None:
        self._settings = settings
        self._queues = list(queues)
        self._ready_file = ready_file
        self._main_pid = os.getpid()
        self._runner: RunnerThread | None = None
        # One byte in it tells every child, whenever it was forked, to interrupt what runs.
        self._interrupt_read, self._interrupt_write = os.pipe()
        self._app = make_celery_app(settings)
        add_housekeeping(self._app, settings)
        self._heartbeat = Heartbeat(settings.heartbeat_file)
        add_heartbeat(self._app, self._heartbeat)

        @self._app.task(name=RUN_CHUNK, bind=True)
        def run_chunk(task: Task[Any, Any], /, **message: Any) -> str:
            outcome = self._run_chunk(message)
            if outcome is ChunkOutcome.PUT_BACK:
                self._put_back(task, message)
            return outcome.value

    def run(self) -> int:
        """Take tasks until SIGTERM or SIGINT; return the exit status.

        Running tasks get `drain_seconds` to end. Then they are interrupted: their missing items run elsewhere, which
        does not count as a death. A run that cannot be interrupted is killed, and its lease runs out.
        """
        signals.setup_logging.connect(_no_logging_setup)
        signals.worker_process_init.connect(self._begin_child)
        signals.worker_process_shutdown.connect(self._end_child)
        signals.worker_ready.connect(self._ready)
        signals.worker_shutting_down.connect(self._drain)
        worker_failed.connect(self._end_soon)
        worker = self._app.Worker(
            hostname=f"celery@{socket.gethostname()}",
            pool="prefork",
            concurrency=self._settings.slots,
            queues=self._queues,
            quiet=True,
            without_gossip=True,
            without_mingle=True,
        )
        collect_seldom()
        try:
            worker.start()
        finally:
            self._not_ready()
            self._heartbeat.end()
        return int(worker.exitcode or 0)

    def _run_chunk(self, message: dict[str, Any]) -> ChunkOutcome:
        """The task's body, in a child."""
        if self._runner is None:
            raise StopServiceError("a task came before the child was set up")
        return self._runner.run(message)

    def _put_back(self, task: Task[Any, Any], message: dict[str, Any]) -> None:
        """Put a task back as soon as Redis takes it; this child has nothing else to do meanwhile."""
        give_up_at = message["dispatched_at"] / 1000 + self._settings.claim_timeout_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return put_back(self._app, task, message)
            except RetryableError as error:
                is_stopping, _, _ = select.select([self._interrupt_read], [], [], pause)
                if is_stopping or time.time() > give_up_at:  # its owner sends another one
                    _log.warning("a task was not put back", chunk=message["chunk"], reason=str(error))
                    return None
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _begin_child(self, **_: Any) -> None:
        """Celery has the kernel kill this process when its parent dies; the parent may have died before that."""
        if os.getppid() != self._main_pid:
            os._exit(1)
        configure_logging(self._settings, SERVICE_NAME)
        configure_telemetry(self._settings, SERVICE_NAME)
        worker_id = f"celery@{socket.gethostname()}:{os.getpid()}"
        self._runner = RunnerThread(self._settings, engine="celery", worker_id=worker_id)
        self._runner.start()
        collect_seldom()
        self._runner.interrupt_when_readable(self._interrupt_read)

    def _end_child(self, **_: Any) -> None:
        if self._runner is not None:
            self._runner.stop(_STOP_SECONDS)
        shutdown_telemetry()

    def _ready(self, **_: Any) -> None:
        _log.info("worker ready", queues=self._queues, slots=self._settings.slots)
        if self._ready_file is not None:
            self._ready_file.write_text(f"{self._main_pid}\n", encoding="ascii")

    def _not_ready(self) -> None:
        if self._ready_file is not None:
            self._ready_file.unlink(missing_ok=True)

    def _end_soon(self, **_: Any) -> None:
        """Taking tasks has failed; Celery would now wait for the running ones without a limit."""
        self._not_ready()
        os.write(self._interrupt_write, b"!")
        ending = threading.Timer(_INTERRUPT_SECONDS, os._exit, (1,))
        ending.daemon = True
        ending.start()

    def _drain(self, **_: Any) -> None:
        """A warm shutdown waits for its tasks without a limit: interrupt them, then shut down cold if necessary."""
        drain_seconds = self._settings.drain_seconds
        interrupting = threading.Timer(drain_seconds, os.write, (self._interrupt_write, b"!"))
        killing = threading.Timer(drain_seconds + _INTERRUPT_SECONDS, os.kill, (self._main_pid, signal.SIGQUIT))
        for timer in (interrupting, killing):
            timer.daemon = True
            timer.start()


def put_back(app: Celery, task: Task[Any, Any], message: dict[str, Any]) -> None:
    """Send the same message to the end of its queue; the current one is acknowledged afterwards.

    No countdown and no Celery retry: on Redis such a task waits unacknowledged in a worker's memory, and if that worker
    dies it comes back only after the visibility timeout. The runner has waited already.

    Raises:
        RetryableError: Redis did not take it.
    """
    delivery = task.request.delivery_info or {}
    try:
        app.send_task(
            RUN_CHUNK,
            kwargs=message,
            queue=delivery.get("routing_key"),
            priority=delivery.get("priority", DEFAULT_PRIORITY),
        )
    except BROKER_ERRORS as error:
        raise RetryableError(f"Redis does not take a task back: {error!r}") from error


def _no_logging_setup(**_: Any) -> None:
    """Does nothing: a receiver of this signal keeps Celery from setting up logging itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the settings from the environment and run a worker."""
    parser = argparse.ArgumentParser(prog="celery_worker", description="A worker of the Celery engine.")
    parser.add_argument("--queues", default=",".join(QUEUES), help="queues to take tasks from, comma separated")
    parser.add_argument("--ready-file", type=Path, help="is written when the worker takes tasks")
    chosen = parser.parse_args(arguments)
    queues = [name for name in chosen.queues.split(",") if name]
    if unknown := sorted(set(queues) - set(QUEUES)):
        parser.error(f"unknown queue {unknown[0]!r}; there are {', '.join(QUEUES)}")
    settings = settings_of_process(SERVICE_NAME)
    configure_logging(settings, SERVICE_NAME)
    with suppress(KeyboardInterrupt):
        return CeleryWorker(settings, queues=queues, ready_file=chosen.ready_file).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
