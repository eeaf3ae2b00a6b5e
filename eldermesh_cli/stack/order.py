"""Start services after what they depend on, and stop them before it; independent ones at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from eldermesh_cli.answers.stack import DownAnswer
from eldermesh_cli.stack.errors import StartFailedError
from eldermesh_cli.stack.service import Service


def added_up(*reports: DownAnswer) -> DownAnswer:
    """What all of them took together."""
    return DownAnswer(
        stopped_processes=sum(report.stopped_processes for report in reports),
        killed_processes=sum(report.killed_processes for report in reports),
        stop_seconds=round(sum(report.stop_seconds for report in reports), 3),
    )


async def start_in_order(
    services: Mapping[str, Service],
    started: Callable[[], None],
    failed: Callable[[StartFailedError], None] | None = None,
) -> None:
    """Start all that are wanted from the beginning; return when each is ready; `started` is called after each.

    With `failed`, which is told of each that does not start, the others go on: those that depend on it are not started.

    Raises:
        StartFailedError: one is not ready, and there is no `failed`; the others are left as they are.
    """
    loop = asyncio.get_running_loop()
    ready: dict[str, asyncio.Future[bool]] = {name: loop.create_future() for name in services}

    async def start_one(service: Service) -> None:
        ready[service.spec.name].set_result(await comes_up(service))

    async def comes_up(service: Service) -> bool:
        for name in service.spec.depends_on:
            if not await asyncio.shield(ready[name]):
                return False
        try:
            await service.bring_up()
        except StartFailedError as failure:
            if failed is None:
                raise
            failed(failure)
            return False
        started()
        return True

    try:
        async with asyncio.TaskGroup() as group:
            for service in services.values():
                if service.spec.wanted is None:
                    group.create_task(start_one(service))
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__


async def stop_in_order(services: Mapping[str, Service]) -> DownAnswer:
    """Stop all that run, each within its grace, the last started first.

    Raises:
        ProcessWouldNotDieError: one outlived SIGKILL; the others have been stopped all the same.
    """
    began = time.monotonic()
    running = [name for name, service in services.items() if service.pid is not None]
    stopping: dict[str, asyncio.Task[bool]] = {}

    async def stop_one(service: Service) -> bool:
        name = service.spec.name
        specs = {other: services[other].spec for other in stopping}
        before = [
            task
            for other, task in stopping.items()
            if name in specs[other].depends_on or name in specs[other].outlived_by
        ]
        await asyncio.gather(*before, return_exceptions=True)
        return await service.shut_down()

    for name in reversed(list(services)):
        stopping[name] = asyncio.create_task(stop_one(services[name]))
    ends = dict(zip(stopping, await asyncio.gather(*stopping.values(), return_exceptions=True), strict=True))
    for end in ends.values():
        if isinstance(end, BaseException):
            raise end
    killed = sum(ends[name] is True for name in running)
    return DownAnswer(
        stopped_processes=len(running), killed_processes=killed, stop_seconds=round(time.monotonic() - began, 3)
    )
