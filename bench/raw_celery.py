"""Raw Celery: one round trip, a group of single tasks, and `chunks()`. Also the worker's application."""

from __future__ import annotations

import math
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

from celery import Celery, group
from redis.asyncio import Redis

from eldermesh.launch import python_command
from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.service import Service, ServiceSpec

_URL_VARIABLE = "BENCH_CELERY_REDIS"
_WAIT_SECONDS = 10.0
_GROUP_SECONDS = 300.0
_INTERVAL_SECONDS = 0.005
"""By default `get` of a group looks twice a second, and half a second would be all that small groups take."""

_CHUNKS = 8
_DATABASE = 1


def make_app(url: str) -> Celery:
    """Celery as its tutorial has it: Redis as broker and as result backend, JSON."""
    app = Celery("raw", broker=url, backend=url, set_as_current=False)
    app.conf.update(task_serializer="json", accept_content=["json"], worker_hijack_root_logger=False)

    @app.task(name="nothing", shared=False)
    def nothing(item: object) -> object:
        return item

    @app.task(name="call", shared=False)
    def call(function: str, item: object) -> object:
        return _function(function)(item)

    return app


@cache
def _function(name: str) -> Callable[[object], object]:
    function: Callable[[object], object] = resolve_name(name)
    return function


app = make_app(os.environ.get(_URL_VARIABLE, "memory://"))


class RawCelery:
    """The client of a raw worker, which is the service."""

    def __init__(self, url: str, worker: Service) -> None:
        self._app = make_app(url)
        self.worker = worker

    def round_trip(self) -> float:
        """Milliseconds from the send to the result in hand."""
        began = time.perf_counter()
        self._app.send_task("nothing", args=[4.0]).get(timeout=_WAIT_SECONDS, interval=_INTERVAL_SECONDS)
        return (time.perf_counter() - began) * 1000

    def group(self, function: str, items: int) -> float:
        """Seconds for a group of so many tasks, from the first send to the last result in hand."""
        began = time.perf_counter()
        tasks = [self._app.signature("call", args=[function, item]) for item in range(items)]
        results = group(tasks, app=self._app).apply_async().get(timeout=_GROUP_SECONDS, interval=_INTERVAL_SECONDS)
        return _checked(time.perf_counter() - began, results, items)

    def chunks(self, function: str, items: int, slots: int) -> float:
        """The same for Celery's own chunks, eight for each slot."""
        began = time.perf_counter()
        calls = ((function, item) for item in range(items))
        sent = self._app.tasks["call"].chunks(calls, math.ceil(items / (slots * _CHUNKS))).apply_async()
        results = [result for chunk in sent.get(timeout=_GROUP_SECONDS, interval=_INTERVAL_SECONDS) for result in chunk]
        return _checked(time.perf_counter() - began, results, items)


def _checked(seconds: float, results: Sequence[object], items: int) -> float:
    if list(results) != list(range(items)):
        raise ValueError("Celery's results are not those of the items")
    return seconds


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
        yield RawCelery(url, worker)
    finally:
        await worker.shut_down()
        await client.aclose()
