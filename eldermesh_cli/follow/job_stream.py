"""A job's states, results and end in one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from eldermesh.client import Client
from eldermesh.contract.results import JobProgress
from eldermesh_cli.answers.jobs import EndLine, JobStatus, ProgressLine, StateLine, WatchLine
from eldermesh_cli.follow.job_status import job_status, live_status
from eldermesh_cli.program.connection import OpenMesh, mesh_client

_LOOK_SECONDS = 0.2


async def watched(
    opened: OpenMesh, job_id: str, *, from_sequence: int, timeout_seconds: float
) -> AsyncGenerator[WatchLine, None]:
    """What comes of a job: its state now and whenever it changes, its progress records in order, at last its end.

    A refused submit has only the state `dead`.

    Raises:
        CliError: nobody knows the job.
        WaitTimeoutError: it has not ended in time.
        MeshUnavailableError: the broker does not answer.
        redis.RedisError: Redis does not answer.
    """
    first = await job_status(opened, job_id)
    yield StateLine(record=first)
    if first.state == "dead":
        return
    async with mesh_client(opened.mesh.settings) as client:
        async with aclosing(_progress_and_ticks(client, job_id, from_sequence, timeout_seconds)) as ticks:
            shown = first
            async for progress in ticks:
                now = await live_status(opened, job_id)
                if now is not None and _differ(now, shown):
                    shown = now
                    yield StateLine(record=now)
                if progress is not None:
                    yield ProgressLine(record=progress)
        end = await client.wait(job_id, timeout_seconds)
        last = await live_status(opened, job_id)
        if last is not None and _differ(last, shown):
            yield StateLine(record=last)
        yield EndLine(record=end)


async def _progress_and_ticks(
    client: Client, job_id: str, from_sequence: int, timeout_seconds: float
) -> AsyncGenerator[JobProgress | None, None]:
    """The job's progress records, and None whenever none has come for a moment."""
    async with aclosing(client.progress(job_id, from_sequence, timeout_seconds)) as records:

        async def following() -> JobProgress | None:
            return await anext(records, None)

        coming = asyncio.create_task(following(), name=f"progress of {job_id}")
        try:
            while True:
                await asyncio.wait([coming], timeout=_LOOK_SECONDS)
                if not coming.done():
                    yield None
                    continue
                record = coming.result()
                if record is None:
                    return
                yield record
                coming = asyncio.create_task(following(), name=f"progress of {job_id}")
        finally:
            coming.cancel()
            await asyncio.wait([coming])


def _differ(one: JobStatus, other: JobStatus) -> bool:
    return (one.state, one.waiting_for, one.waiting_until) != (other.state, other.waiting_for, other.waiting_until)
