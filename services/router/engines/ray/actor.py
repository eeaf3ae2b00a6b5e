"""The actor of the Ray engine: a chunk runner in a process of Ray that outlives the router."""

from __future__ import annotations

import os
import socket
from typing import Any

import ray

from services.router.engines.celery.runner_thread import RunnerThread
from services.router.engines.chunks.task import ChunkOutcome
from services.router.engines.ray.environment import become_runner
from services.router.engines.ray.idle_watch import IdleWatch
from shared.errors import RetryableError
from shared.logs.setup import configure_logging, get_logger
from shared.telemetry.setup import configure_telemetry, shutdown_telemetry

SERVICE_NAME = "eldermesh-ray-runner"

_STOP_SECONDS = 10.0

_log = get_logger(__name__)


class RayRunner:
    """Runs one chunk after another, and ends by itself when it has been idle.

    It is made with the router's settings as variables, and with `stays` it does not end when idle.
    """

    def __init__(self, environment: dict[str, str], *, stays: bool) -> None:
        settings = become_runner(environment)
        configure_logging(settings, SERVICE_NAME)
        configure_telemetry(settings, SERVICE_NAME)
        self._idle_seconds = settings.ray_idle_seconds
        self._runner = RunnerThread(settings, engine="ray", worker_id=f"ray@{socket.gethostname()}:{os.getpid()}")
        self._runner.start()
        itself: Any = ray.get_runtime_context().current_actor

        def leave() -> None:
            # As a call, it comes after all earlier calls.
            ray.wait([itself.leave.remote()], timeout=self._idle_seconds)

        self._idle = IdleWatch(self._idle_seconds, leave=leave, end=self._end)
        if not stays:
            self._idle.start()

    def ready(self) -> int:
        """Return the process id; Ray answers this once the actor is made."""
        return os.getpid()

    def run(self, message: dict[str, Any]) -> str:
        """Run a chunk; return its outcome, a value of `ChunkOutcome`. Its results are in Kafka by then."""
        with self._idle.busy():
            try:
                return self._runner.run(message).value
            except RetryableError as error:
                _log.warning("a chunk did not end; the lease of its claim runs out", reason=str(error))
                return ChunkOutcome.KILLED.value

    def leave(self) -> None:
        """End unless there was work meanwhile; calls that came before this one have been answered."""
        if self._idle.is_idle():
            ray.actor.exit_actor()  # type: ignore[no-untyped-call]  # it never returns

    def __ray_shutdown__(self) -> None:
        """Called by Ray when the actor ends in order."""
        self._runner.stop(_STOP_SECONDS)
        shutdown_telemetry()

    def _end(self) -> None:
        """End the process without Ray, which does not answer."""
        try:
            self.__ray_shutdown__()
        finally:
            os._exit(1)
