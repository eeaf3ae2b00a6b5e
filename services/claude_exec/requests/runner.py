"""Runs requests in this process: so many at once, each under a claim."""

from __future__ import annotations

import asyncio
import logging
from uuid import uuid4

from opentelemetry import metrics
from redis.exceptions import RedisError

from services.claude_exec.requests.ports import RequestTask, RunPorts
from services.claude_exec.requests.run import RequestRun
from services.claude_exec.requests.spec import RequestSpec
from shared.errors import RetryableError
from shared.history.claims import Claimed, ClaimRefusal
from shared.history.lease import Lease, LeaseLostError
from shared.logs import job_logs
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import record_span, span

NOT_YET_SECONDS = 10.0
"""How long a run waits for a closed gate or an unknown request; then it leaves, and its owner asks again."""

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0
_SPEC_SECONDS = 10.0
_SPEC_PAUSE_SECONDS = 0.2

_log = logging.getLogger(__name__)


class RequestRunner:
    """Takes requests as owners dispatch them; their windows bound how many wait here.

    Args:
        ports: what runs work with.
        slots: how many run at once.
    """

    def __init__(self, ports: RunPorts, *, slots: int) -> None:
        self._ports = ports
        self._slots = asyncio.Semaphore(slots)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing = False
        self._stopping = asyncio.Event()
        self._running = 0
        self._running_gauge = metrics.get_meter(__name__).create_gauge(
            metric_names.REQUESTS_RUNNING.name, metric_names.REQUESTS_RUNNING.unit
        )

    def take(self, task: RequestTask) -> None:
        """Run a request when there is a free slot; one that is here already is not taken twice."""
        name = str(task.chunk)
        if self._closing or name in self._tasks:
            return
        running = asyncio.create_task(self._take(task), name=f"request {name}")
        self._tasks[name] = running
        running.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def stop(self, drain_seconds: float) -> None:
        """Begin nothing more; give what runs so long; then interrupt it. On return no CLI of this process is left."""
        self._closing = True
        if self._running and self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=drain_seconds)
        self._stopping.set()
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def _take(self, task: RequestTask) -> None:
        async with self._slots:
            if self._closing:
                return
            self._count(1)
            try:
                with job_logs(task.request_id):
                    await self._run(task)
            except RetryableError as error:
                _log.warning("request %s: this run ends, its claim will die: %s", task.request_id, error)
            except Exception:  # noqa: BLE001 - it is logged, and concerns this run alone
                _log.exception("request %s: this run failed, its claim will die", task.request_id)
            finally:
                self._count(-1)

    async def _run(self, task: RequestTask) -> None:
        lease = await self._claim(task, uuid4().hex)
        if lease is None:
            return
        ports = self._ports
        claimed_at = ports.clock.now_ms()
        attributes: dict[str, str | int] = {names.REQUEST_ID: task.request_id, names.REQUEST_ATTEMPT: task.chunk.epoch}
        parent = context_from(task.traceparent, task.tracestate)
        record_span(
            names.REQUEST_WAIT, start_ms=task.dispatched_at, end_ms=claimed_at, context=parent, attributes=attributes
        )
        with span(names.PROCESS_REQUEST, context=parent, attributes=attributes) as run_span:
            try:
                spec = await self._spec(task, lease)
                run = RequestRun(ports, task, spec, lease, claimed_at, run_span, self._stopping)
                reason = await run.run()
            except LeaseLostError as lost:
                reason = lost.reason
            if reason is not None:
                _log.info("request %s: run killed: %s", task.request_id, reason)
                run_span.set_attribute(names.REASON, reason)

    async def _claim(self, task: RequestTask, run: str) -> Lease | None:
        """The lease; None if the run is not this one's to do, or could not be claimed in time."""
        ports = self._ports
        give_up_at = ports.clock.monotonic() + NOT_YET_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while not self._closing:
            asked_at = ports.clock.monotonic()
            answer: Claimed | ClaimRefusal = ClaimRefusal.NOT_YET
            try:
                answer = await ports.claims.claim(task.partition, task.chunk, runner=ports.worker_id, run=run)
            except (RedisError, OSError) as error:
                _log.warning("request %s could not be claimed: %r", task.request_id, error)
            if isinstance(answer, Claimed):
                return Lease(
                    ports.claims,
                    task.partition,
                    task.chunk,
                    runner=ports.worker_id,
                    run=run,
                    mark=answer.mark,
                    seconds=ports.settings.lease_seconds,
                    heartbeat_seconds=ports.settings.heartbeat_seconds,
                    clock=ports.clock,
                    taken_at=asked_at,
                )
            left = give_up_at - ports.clock.monotonic()
            if answer is ClaimRefusal.LEAVE or left <= 0:
                return None
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        return None

    async def _spec(self, task: RequestTask, lease: Lease) -> RequestSpec:
        """What is to be run.

        Raises:
            LeaseLostError: the request has ended.
            RetryableError: Redis does not have it.
        """
        clock = self._ports.clock
        give_up_at = clock.monotonic() + _SPEC_SECONDS
        while True:
            raw = None
            try:
                raw = await self._ports.claims.spec(task.partition, task.request_id)
            except (RedisError, OSError) as error:
                _log.warning("request %s: its specification could not be read: %r", task.request_id, error)
            if raw is not None:
                return RequestSpec.decode(raw)
            if clock.monotonic() > give_up_at:
                raise RetryableError(f"request {task.request_id}: Redis does not have its specification")
            await lease.renew()  # if the request has ended, this says so
            await asyncio.sleep(_SPEC_PAUSE_SECONDS)

    def _count(self, more: int) -> None:
        self._running += more
        self._running_gauge.set(self._running)
