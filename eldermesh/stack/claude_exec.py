"""The service `claude_exec` of the embedded mesh: runs the prompts of `claude.requests`."""

from __future__ import annotations

from collections.abc import Sequence

from eldermesh.stack.errors import NotReadyError
from eldermesh.stack.service import ServiceSpec, python_command
from services.claude_exec.health import requests_trouble
from shared.settings import Settings

CLAUDE_EXEC_NAME = "claude_exec"


def claude_exec_service(
    settings: Settings, *, depends_on: Sequence[str] = (), outlived_by: Sequence[str] = ()
) -> ServiceSpec:
    """A `claude_exec` with these settings; ready when it owns every partition of its history and reads its inbox."""

    async def works() -> None:
        if (trouble := await requests_trouble(settings)) is not None:
            raise NotReadyError(trouble)

    return ServiceSpec(
        name=CLAUDE_EXEC_NAME,
        command=python_command("services.claude_exec"),
        env=settings.environment(),
        ready=works,
        depends_on=tuple(depends_on),
        outlived_by=tuple(outlived_by),
        ready_timeout_seconds=60.0,
        # Runs get the drain time, and what is left of them is killed.
        stop_grace_seconds=settings.drain_seconds + 15.0,
    )
