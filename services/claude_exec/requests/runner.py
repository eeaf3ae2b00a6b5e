"""Runs requests in this process: so many at once, each under a claim."""

from __future__ import annotations

import asyncio
import logging

from opentelemetry import metrics

from services.claude_exec.requests.run import RequestRun
from services.claude_exec.requests.runner_parts import RequestRunnerParts, RequestTask
from services.claude_exec.requests.spec import RequestSpec
from shared.history.runs.lease import Lease, LeaseLostError
from shared.history.runs.slots import SlotRunner
from shared.history.runs.spec_read import read_spec
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import record_span, span

_log = logging.getLogger(__name__)


class RequestRunner(SlotRunner[RequestTask]):
    """The slots for prompts.

    Args:
        parts: what runs work with.
        slots: how many run at once.
    """

    def __init__(self, parts: RequestRunnerParts, *, slots: int) -> None:
        super().__init__(
            "request",
            parts.claims,
            worker_id=parts.worker_id,
            settings=parts.settings,
            clock=parts.clock,
            claim_timeout_seconds=parts.settings.claim_timeout_seconds,
        )
        self._parts = parts
        self._slots = asyncio.Semaphore(slots)
        self._running_gauge = metrics.get_meter(__name__).create_gauge(
            metric_names.REQUESTS_RUNNING.name, metric_names.REQUESTS_RUNNING.unit
        )

    def slots(self, task: RequestTask) -> asyncio.Semaphore:  # noqa: ARG002 - all prompts share them
        """All prompts wait together."""
        return self._slots

    def running_changed(self, running: int) -> None:
        """Tell telemetry."""
        self._running_gauge.set(running)

    async def run(self, task: RequestTask, lease: Lease) -> None:
        """Run the prompt.

        Raises:
            RetryableError: this run ends, and its claim dies by its lease.
        """
        parts = self._parts
        claimed_at = parts.clock.now_ms()
        attributes: dict[str, str | int] = {names.REQUEST_ID: task.request_id, names.REQUEST_ATTEMPT: task.chunk.epoch}
        parent = context_from(task.traceparent, task.tracestate)
        record_span(
            names.REQUEST_WAIT, start_ms=task.dispatched_at, end_ms=claimed_at, context=parent, attributes=attributes
        )
        with span(names.PROCESS_REQUEST, context=parent, attributes=attributes) as run_span:
            try:
                spec = await self._spec(task, lease)
                reason = await RequestRun(parts, task, spec, lease, claimed_at, run_span, self.stopping).run()
            except LeaseLostError as lost:
                reason = lost.reason
            if reason is not None:
                _log.info("request %s: run killed: %s", task.request_id, reason)
                run_span.set_attribute(names.REASON, reason)

    async def _spec(self, task: RequestTask, lease: Lease) -> RequestSpec:
        """What is to be run.

        Raises:
            LeaseLostError: the request has ended, or Redis was away for longer than the lease.
            RetryableError: Redis does not have it.
        """

        async def read() -> RequestSpec | None:
            raw = await self._parts.claims.spec(task.partition, task.request_id)
            return None if raw is None else RequestSpec.decode(raw)

        whose = f"request {task.request_id}"
        return await read_spec(read, lease, self._parts.clock, whose=whose, stopping=self.stopping)
