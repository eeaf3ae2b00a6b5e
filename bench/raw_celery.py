"""One raw Celery round trip: send a task that does nothing, and get its result. Also the worker's application."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from celery import Celery, group
from redis.asyncio import Redis

from eldermesh.launch import python_command
from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.service import Service, ServiceSpec

_URL_VARIABLE = "BENCH_CELERY_REDIS"
_WAIT_SECONDS = 10.0
_GROUP_SECONDS = 300.0
_DATABASE = 1


def make_app(url: str) -> Celery:
    """Celery as its tutorial has it: Redis as broker and as result backend, JSON."""
    app = Celery("raw", broker=url, backend=url, set_as_current=False)
    app.conf.update(task_serializer="json", accept_content=["json"], worker_hijack_root_logger=False)

    @app.task(name="nothing", shared=False)
    def nothing(item: object) -> object:
        return item

    return app


app = make_app(os.environ.get(_URL_VARIABLE, "memory://"))


class RawCelery:
    """The client of a raw worker."""

    def __init__(self, url: str) -> None:
        self._app = make_app(url)

    def round_trip(self) -> float:
        """Milliseconds from the send to the result in hand."""
        began = time.perf_counter()
        self._app.send_task("nothing", args=[4.0]).get(timeout=_WAIT_SECONDS)
        return (time.perf_counter() - began) * 1000

    def group(self, items: int) -> float:
        """Seconds for a group of so many tasks, from the first send to the last result in hand."""
        began = time.perf_counter()
        tasks = [self._app.signature("nothing", args=[4.0]) for _ in range(items)]
        group(tasks, app=self._app).apply_async().get(timeout=_GROUP_SECONDS)
        return time.perf_counter() - began


@asynccontextmanager
async def raw_celery(redis_url: str, slots: int, log_dir: Path) -> AsyncIterator[RawCelery]:
    """A raw worker on a database of its own in the same Redis."""
    url = f"{redis_url.rsplit('/', 1)[0]}/{_DATABASE}"
    client = Redis.from_url(url)

    async def listens() -> None:
        if not await client.smembers("_kombu.binding.celery"):
            raise NotReadyError("the raw worker has not declared its queue")

    arguments = ("-A", "bench.raw_celery", "worker", "--pool", "prefork", "--concurrency", str(slots))
    spec = ServiceSpec(
        name="raw-celery",
        command=python_command("celery", *arguments, "--without-gossip", "--without-mingle"),
        env={_URL_VARIABLE: url, "PYTHONPATH": str(Path.cwd())},
        ready=listens,
    )
    worker = Service(spec, log_dir=log_dir)
    try:
        await worker.bring_up()
        yield RawCelery(url)
    finally:
        await worker.shut_down()
        await client.aclose()
