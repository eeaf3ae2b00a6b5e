"""Messages about what a job waits for, shown while a command waits for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from redis.exceptions import RedisError

from eldermesh_cli.answers.jobs import JobStatus
from eldermesh_cli.follow.job_status import live_status
from eldermesh_cli.program.connection import OpenMesh

_LOOK_SECONDS = 2.0


async def say_waits(opened: OpenMesh, job_id: str, say: Callable[[str], None]) -> None:
    """Look every two seconds until the job ends; say what it waits for whenever that has changed."""
    said: str | None = None
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            status = await live_status(opened, job_id)
        except RedisError:
            continue  # its end is told by Kafka
        if status is None or status.ended_at is not None:
            return
        wait = told_wait(status)
        if wait is not None and wait != said:
            say(wait)
        said = wait


def told_wait(status: JobStatus) -> str | None:
    """What it waits for, in a sentence; None while it runs."""
    until = "" if status.waiting_until is None else f" until {status.waiting_until} at the latest"
    match status.waiting_for:
        case "advice":
            return "the job waits for the sages' advice"
        case "routing":
            return "the job waits to be routed"
        case "decision":
            decide = f"`mesh approve {status.job_id}` or `mesh reject {status.job_id}`"
            return f"the job is held{until}: {decide}"
        case "quota":
            return f"the job waits for a quota{until}"
        case "engine" if status.engine == "ray":
            return "the job waits for Ray, which takes some seconds to start where nothing runs there yet"
        case "engine":
            return "the job waits for a free worker"
    return None
