"""The driver of the Ray engine, a process of its own: `python -m services.router.engines.ray.driver`, made by a router.

The router does not connect itself: a process that was connected to a Ray head cannot connect to another one, loses its
own SIGTERM handler, and may be ended by Ray when the head dies. Requests come on standard input, answers go to standard
output, one JSON object a line. The end of the input ends the driver; runners go on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio import StreamReader
from dataclasses import asdict
from typing import IO, Any

import ray

from services.router.engines.ray.node import joined_node
from services.router.engines.ray.pool import ClusterLostError, PoolTask, RunnerPool
from services.router.engines.ray.runners import RayRunners, first_line, in_time, namespace
from shared.logs.setup import configure_logging, get_logger
from shared.settings import Settings

SERVICE_NAME = "eldermesh-ray-driver"

CONNECTION_LOST = 3
"""Exit status of a driver that lost the cluster, or did not reach it."""

_CHECK_SECONDS = 3.0
_DEPTHS_SECONDS = 1.0

_log = get_logger(__name__)


class RayDriver:
    """Runs the requested chunks until it loses the cluster."""

    def __init__(self, settings: Settings, answers: IO[str]) -> None:
        self._settings = settings
        self._answers = answers
        self._runners = RayRunners(settings)
        self._pools: dict[str, RunnerPool] = {}
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, requests: StreamReader) -> None:
        """Serve until the requests end.

        Raises:
            ClusterLostError: the cluster is lost; this driver has to end.
        """
        tasks = [
            asyncio.create_task(self._read(requests)),
            asyncio.create_task(self._check_cluster()),
            asyncio.create_task(self._tell_depths()),
        ]
        try:
            done, _ = await asyncio.wait({*tasks, self._lost}, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    async def _read(self, requests: StreamReader) -> None:
        while line := await requests.readline():
            request = json.loads(line)
            pool = self._pool(request["workload"])
            pool.put(PoolTask(request["chunk"], request["priority"], request["message"]))

    def _pool(self, workload: str) -> RunnerPool:
        pool = self._pools.get(workload)
        if pool is None:
            most = self._settings.ray_resources.of(workload).max_runners or self._settings.ray_runners
            pool = RunnerPool(
                workload,
                range(most),
                lambda number: self._runners.get(workload, number),
                ended=lambda chunk, outcome: self._answer({"ended": chunk, "outcome": outcome}),
                failed=self._fail,
            )
            self._pools[workload] = pool
        return pool

    def _fail(self, error: BaseException) -> None:
        if not self._lost.done():
            self._lost.set_exception(error)

    async def _check_cluster(self) -> None:
        """Notice that the head or the node of this driver is gone, even while no chunk runs."""
        own = ray.get_runtime_context().get_node_id()
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            nodes: list[dict[str, Any]] = await in_time(ray.nodes)
            if own not in {node["NodeID"] for node in nodes if node["Alive"]}:
                raise ClusterLostError("the Ray node of this driver is gone")

    async def _tell_depths(self) -> None:
        told: dict[str, Any] = {}
        while True:
            depths = {workload: asdict(pool.depths) for workload, pool in self._pools.items()}
            if depths != told:
                self._answer({"depths": depths})
                told = depths
            await asyncio.sleep(_DEPTHS_SECONDS)

    def _answer(self, answer: dict[str, Any]) -> None:
        """This does not block for long: the router always reads, and its end also ends this process, by the leash."""
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()


async def _serve(settings: Settings, answers: IO[str]) -> None:
    requests = StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin.buffer)
    answers.write('{"connected": true}\n')
    answers.flush()
    await RayDriver(settings, answers).serve(requests)


def main() -> int:
    """Connect and serve."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Ray prints
    settings = Settings(_env_file=None)
    configure_logging(settings, SERVICE_NAME)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(joined_node(settings))
            ray.init(settings.ray_address, namespace=namespace(settings), configure_logging=False, log_to_driver=False)
            asyncio.run(_serve(settings, answers))
        except Exception as error:  # noqa: BLE001 - whatever Ray raises: the router reads of it and starts another driver
            reason = first_line(error)
            _log.warning("the Ray cluster is lost", reason=reason)
            with contextlib.suppress(OSError):  # the router is gone
                answers.write(json.dumps({"lost": reason}) + "\n")
                answers.flush()
            status = CONNECTION_LOST
        else:
            status = 0
    sys.stderr.flush()
    # Without Ray's own shutdown, in which threads may hang: runners are detached, so nothing is lost.
    os._exit(status)


if __name__ == "__main__":
    main()
