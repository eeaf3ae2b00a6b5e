"""Runs requests in this process: so many at once, each under a claim."""

from __future__ import annotations

import asyncio
import logging
from uuid import uuid4

from opentelemetry import metrics

from services.claude_exec.requests.run import RequestRun
from services.claude_exec.requests.runner_parts import RequestTask, RunPorts
from services.claude_exec.requests.spec import RequestSpec
from shared.errors import RetryableError
from shared.history.runs.claim_request import Unclaimed, claimed_lease
from shared.history.runs.lease import Lease, LeaseLostError
from shared.history.runs.spec_read import read_spec
from shared.logs.exceptions import ends_the_task
from shared.logs.setup import job_logs
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import record_span, span

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
        self._taken_at: dict[str, float] = {}
        self._closing = False
        self._stopping = asyncio.Event()
        self._running = 0
        self._running_gauge = metrics.get_meter(__name__).create_gauge(
            metric_names.REQUESTS_RUNNING.name, metric_names.REQUESTS_RUNNING.unit
        )

    def take(self, task: RequestTask) -> None:
        """Run a request when there is a free slot; one that is here already is not taken twice."""
        name = str(task.chunk)
        if self._closing:
            return
        self._taken_at[name] = self._ports.clock.monotonic()
        if name in self._tasks:
            return
        running = asyncio.create_task(self._take(task), name=f"request {name}")
        self._tasks[name] = running
        running.add_done_callback(lambda _: self._forget(name))

    async def stop(self, drain_seconds: float) -> None:
        """Begin nothing more; give what runs so long; then interrupt it. On return no CLI of this process is left."""
        self._closing = True
        if self._running and self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=drain_seconds)
        self._stopping.set()
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    def _forget(self, name: str) -> None:
        del self._tasks[name], self._taken_at[name]

    async def _take(self, task: RequestTask) -> None:
        while self._asks_again(task, await self._take_a_slot(task)):
            pass  # those that wait for a slot were first

    def _asks_again(self, task: RequestTask, unclaimed: Unclaimed | None) -> bool:
        """Whether a claim is to be asked for once more.

        While Redis is away, for as long as that lasts: the owner, who needs Redis too, sends nothing again, and may do
        so only long after Redis is back. Where Redis says "not yet", until the owner would send the request again.
        """
        if unclaimed is Unclaimed.NOT_YET:
            waited = self._ports.clock.monotonic() - self._taken_at[str(task.chunk)]
            return waited <= self._ports.settings.claim_timeout_seconds
        return unclaimed is Unclaimed.NO_ANSWER

    async def _take_a_slot(self, task: RequestTask) -> Unclaimed | None:
        """Run it, if it can be claimed; otherwise say why not."""
        async with self._slots:
            if self._closing:
                return None
            self._count(1)
            try:
                with job_logs(task.request_id):
                    return await self._run(task)
            except RetryableError as error:
                _log.warning("request %s: this run ends, its claim will die: %s", task.request_id, error)
            except BaseException as error:
                if ends_the_task(error):
                    raise
                # It is logged, and concerns this run alone.
                _log.exception("request %s: this run failed, its claim will die", task.request_id)
            finally:
                self._count(-1)
        return None

    async def _run(self, task: RequestTask) -> Unclaimed | None:
        ports = self._ports
        claimed = await claimed_lease(
            ports.claims,
            task.partition,
            task.chunk,
            runner=ports.worker_id,
            run=uuid4().hex,
            settings=ports.settings,
            clock=ports.clock,
            is_stopping=lambda: self._closing,
        )
        if isinstance(claimed, Unclaimed):
            return claimed
        _, lease = claimed
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
        return None

    async def _spec(self, task: RequestTask, lease: Lease) -> RequestSpec:
        """What is to be run.

        Raises:
            LeaseLostError: the request has ended, or Redis was away for longer than the lease.
            RetryableError: Redis does not have it.
        """

        async def read() -> RequestSpec | None:
            raw = await self._ports.claims.spec(task.partition, task.request_id)
            return None if raw is None else RequestSpec.decode(raw)

        whose = f"request {task.request_id}"
        return await read_spec(read, lease, self._ports.clock, whose=whose, stopping=self._stopping)

    def _count(self, more: int) -> None:
        self._running += more
        self._running_gauge.set(self._running)
