"""The event loop thread of a worker process, with the chunk runner and all connections."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import Any

from eldermesh.contract.vocabulary import Engine
from services.router.engines.chunks.runner import ChunkRunner
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.task import ChunkOutcome, ChunkTask
from shared.blobs.store import BlobStore
from shared.errors import DeadLetterError, RetryableError, StopServiceError
from shared.health.producer_report import ProducingReport, runners_of
from shared.history.fact_appender import FactAppender
from shared.history.runs.claims import ClaimStore
from shared.kafka.clients import make_producer
from shared.kafka.service_producer import Producer
from shared.redis_client import make_redis
from shared.settings import Settings
from shared.workloads import WorkloadRegistry

_START_SECONDS = 30.0
_LOOK_SECONDS = 1.0
_INTERRUPT_SECONDS = 7.0
"""A little more than a run takes to stop in order; give `stop` more than this."""

_log = logging.getLogger(__name__)


class RunnerThread:
    """Runs chunks for threads that may block; `worker_id` appears in claims and results, and has no spaces."""

    def __init__(self, settings: Settings, *, engine: Engine, worker_id: str) -> None:
        self._settings = settings
        self._engine: Engine = engine
        self._worker_id = worker_id
        self._runs: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run_loop, name="chunk-runner", daemon=True)
        self._serving: Future[tuple[asyncio.AbstractEventLoop, ChunkRunner, asyncio.Event]] = Future()

    def start(self) -> None:
        """Start the thread; return once it takes chunks. Kafka and Redis need not answer yet.

        Raises:
            StopServiceError: it could not be set up.
        """
        self._thread.start()
        try:
            self._serving.result(_START_SECONDS)
        except Exception as error:
            raise StopServiceError(f"the chunk runner did not start: {error!r}") from error

    def run(self, message: dict[str, Any]) -> ChunkOutcome:
        """Run the chunk of an engine's message and wait for its end; the process ends if the thread has ended.

        Raises:
            RetryableError: see `ChunkRunner.run`.
        """
        try:
            task = ChunkTask.from_message(message)
        except DeadLetterError as error:
            _log.error("dropped a message that is not a chunk task: %s", error.reason)
            return ChunkOutcome.LEFT
        try:
            return self._result(task)
        except StopServiceError:
            _log.critical("this process can run no more chunks", exc_info=True)
            os._exit(1)  # the engine starts another; the lease of the claim runs out

    def interrupt_when_readable(self, descriptor: int) -> None:
        """Interrupt what runs and begin nothing more once `descriptor` is readable.

        Nothing is read, so one byte in a pipe reaches every process that shares it.
        """
        loop, runner, _ = self._serving.result(_START_SECONDS)

        def interrupt() -> None:
            loop.remove_reader(descriptor)
            runner.interrupt()

        loop.call_soon_threadsafe(loop.add_reader, descriptor, interrupt)

    def stop(self, seconds: float) -> None:
        """Interrupt what runs, close everything, and wait up to `seconds` for the end of the thread."""
        if self._serving.done() and self._serving.exception() is None:
            loop, _, stopping = self._serving.result()
            loop.call_soon_threadsafe(stopping.set)
        self._thread.join(seconds)
        if self._thread.is_alive():
            _log.error("the chunk runner did not end within %g s", seconds)

    def _result(self, task: ChunkTask) -> ChunkOutcome:
        loop, runner, _ = self._serving.result(_START_SECONDS)
        call = self._run(runner, task)
        try:
            running = asyncio.run_coroutine_threadsafe(call, loop)
        except RuntimeError as error:  # the loop is closed
            call.close()
            raise StopServiceError("the chunk runner has ended") from error
        while True:
            try:
                return running.result(_LOOK_SECONDS)
            except TimeoutError:
                if running.done():
                    return running.result()
                if not self._thread.is_alive():
                    raise StopServiceError("the chunk runner has ended") from None

    async def _run(self, runner: ChunkRunner, task: ChunkTask) -> ChunkOutcome:
        running = asyncio.current_task()
        assert running is not None  # noqa: S101 - for the type checker: a coroutine runs in a task
        self._runs.add(running)
        try:
            return await runner.run(task)
        finally:
            self._runs.discard(running)

    def _run_loop(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._serving.done():
                self._serving.set_exception(error)
            raise

    async def _serve(self) -> None:
        settings = self._settings
        async with AsyncExitStack() as stack:
            redis = make_redis(settings)
            stack.push_async_callback(redis.aclose)
            blobs = BlobStore(settings.blobs)
            stack.callback(blobs.close)
            producer = make_producer(settings, client_id=self._worker_id)
            stack.push_async_callback(producer.stop)
            report = ProducingReport(redis, settings, runners_of(self._engine, socket.gethostname()), producer)
            stack.push_async_callback(report.stop)
            await report.start()
            workloads = WorkloadRegistry.installed()
            stack.push_async_callback(workloads.close)
            lease_ms = round(settings.lease_seconds * 1000)
            parts = ChunkRunnerParts(
                settings=settings,
                engine=self._engine,
                worker_id=self._worker_id,
                claims=lru_cache(maxsize=8)(lambda topic: ClaimStore(redis, topic, lease_ms=lease_ms)),
                facts=FactAppender(producer),
                workloads=workloads,
                blobs=blobs,
            )
            stopping = asyncio.Event()
            runner = ChunkRunner(parts)
            self._serving.set_result((asyncio.get_running_loop(), runner, stopping))
            connecting = asyncio.create_task(_connect(producer))
            await stopping.wait()
            runner.interrupt()
            if self._runs:
                await asyncio.wait(self._runs, timeout=_INTERRUPT_SECONDS)
            for task in {connecting, *self._runs}:  # while the connections that they need are open
                task.cancel()
            await asyncio.gather(connecting, *self._runs, return_exceptions=True)


async def _connect(producer: Producer) -> None:
    """Connect before the first chunk; if Kafka does not answer yet, that chunk tries again."""
    try:
        await producer.start()
    except RetryableError as error:
        _log.warning("not connected to Kafka yet: %s", error)
    except Exception:  # noqa: BLE001 - logged; nothing else reads the result of this task
        _log.exception("connecting to Kafka failed; the first chunk tries again")
