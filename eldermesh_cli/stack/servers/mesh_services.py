"""The mesh's own services, each a Python process that is ready when its health check finds no trouble."""

from __future__ import annotations

from dataclasses import replace

from eldermesh.launch import python_command
from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.servers.broker import BROKER_NAME
from eldermesh_cli.stack.servers.redis import REDIS_NAME
from eldermesh_cli.stack.service import ServiceSpec
from services.router.engines.celery.health import worker_trouble
from shared.health.container_check import Trouble
from shared.health.parts import CLAUDE_EXEC, NOTIFIER, ROUTER, SAGES
from shared.settings import Settings

TELEMETRY_NAME = "telemetry"
ROUTER_NAME = "router"
WORKER_NAME = "worker"
CLAUDE_EXEC_NAME = "claude_exec"
SAGES_NAME = "sages"
NOTIFIER_NAME = "notifier"
_STOP_SECONDS = 30.0
_KILLING_SECONDS = 15.0


def router_service(settings: Settings) -> ServiceSpec:
    """A router; ready when every partition of the job history has an owner and the inboxes are read."""
    return _service(ROUTER_NAME, "services.router", settings, ROUTER.trouble)


def worker_service(settings: Settings) -> ServiceSpec:
    """A Celery worker; ready when it answers a ping."""
    return _service(WORKER_NAME, "services.router.engines.celery.worker", settings, worker_trouble)


def claude_exec_service(settings: Settings) -> ServiceSpec:
    """A `claude_exec`; ready when every partition of its history has an owner and its inbox is read."""
    # Runs get the drain time, and what is left of them is killed.
    stop = settings.drain_seconds + _KILLING_SECONDS
    return _service(CLAUDE_EXEC_NAME, "services.claude_exec", settings, CLAUDE_EXEC.trouble, stop_grace_seconds=stop)


def sages_service(settings: Settings) -> ServiceSpec:
    """The sages; ready when somebody reads the questions. Jobs go on without them."""
    spec = _service(SAGES_NAME, "services.sages", settings, SAGES.trouble)
    return replace(spec, depends_on=(BROKER_NAME,))


def notifier_service(settings: Settings) -> ServiceSpec:
    """A notifier; ready when every partition of its history has an owner and the events are read."""
    return _service(NOTIFIER_NAME, "services.notifier", settings, NOTIFIER.trouble)


def _service(
    name: str,
    module: str,
    settings: Settings,
    trouble: Trouble,
    *,
    stop_grace_seconds: float = _STOP_SECONDS,
) -> ServiceSpec:
    async def works() -> None:
        if (found := await trouble(settings)) is not None:
            raise NotReadyError(found)

    return ServiceSpec(
        name=name,
        command=python_command(module),
        env=settings.environment(),
        ready=works,
        depends_on=(BROKER_NAME, REDIS_NAME),
        outlived_by=(TELEMETRY_NAME,),
        stop_grace_seconds=stop_grace_seconds,
    )
