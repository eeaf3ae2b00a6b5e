"""Runs the requests that this process owns: a limited number at once, each under a claim."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from opentelemetry import metrics

from services.claude_exec.requests.run import RequestRun, RequestRunnerParts, RequestTask
from services.claude_exec.requests.spec import RequestSpec
from services.claude_exec.requests.state import RequestState
from shared.history.machine import DispatchDue
from shared.history.owner_parts import Rank
from shared.history.runs.lease import Lease, LeaseLostError
from shared.history.runs.slots import SlotRunner
from shared.history.runs.spec_read import read_spec
from shared.kafka.topics import CLAUDE_HISTORY
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import context_from
from shared.telemetry.spans import record_span, span

_log = logging.getLogger(__name__)


class RequestRunner(SlotRunner[RequestTask]):
    """The slots for prompts, and the `Dispatcher[RequestState]` that fills them.

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

    def rank(self, state: RequestState) -> Rank:
        """First come, first served."""
        return Rank(0, state.first_offset)

    async def dispatch(self, partition: int, chunks: Sequence[tuple[RequestState, DispatchDue]]) -> None:
        """Take requests that are due."""
        for state, due in chunks:
            acceptance = state.acceptance
            self.take(
                RequestTask(
                    topic=self._parts.settings.topic(CLAUDE_HISTORY),
                    partition=partition,
                    chunk=due.chunk,
                    dispatched_at=self._parts.clock.now_ms(),
                    traceparent=None if acceptance is None else acceptance.traceparent,
                    tracestate=None if acceptance is None else acceptance.tracestate,
                )
            )

    def slots(self, task: RequestTask) -> asyncio.Semaphore:  # noqa: ARG002 - all prompts share them
        """One semaphore for all prompts."""
        return self._slots

    def running_changed(self, running: int) -> None:
        """Update the gauge."""
        self._running_gauge.set(running)

    async def run(self, task: RequestTask, lease: Lease) -> None:
        """Run the prompt.

        Raises:
            RetryableError: the run ends; its claim ends with its lease.
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
        """The specification of the request.

        Raises:
            LeaseLostError: the request has ended, or Redis did not answer for longer than the lease.
            RetryableError: Redis does not have the specification.
        """

        async def read() -> RequestSpec | None:
            raw = await self._parts.claims.spec(task.partition, task.request_id)
            return None if raw is None else RequestSpec.decode(raw)

        whose = f"request {task.request_id}"
        return await read_spec(read, lease, self._parts.clock, whose=whose, stopping=self.stopping)
