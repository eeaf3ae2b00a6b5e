"""The items of a chunk, one after another, each under a fresh renewal of the claim."""

from __future__ import annotations

import logging
from functools import partial

from pydantic import JsonValue

from services.router.engines.chunk_task import ChunkTask
from services.router.engines.item_host import describe
from services.router.engines.item_results import MAX_INLINE_BYTES, fact_result
from services.router.engines.job_specs import JobSpec
from services.router.engines.result_publisher import ResultPublisher, TimedResult
from services.router.engines.runner_metrics import RunnerMetrics
from services.router.engines.runner_ports import RunnerPorts
from shared.errors import ConfigurationError, MeshError, RetryableError
from shared.events import FactResult
from shared.history.lease import Lease, LeaseLostError
from shared.patience import with_patience
from shared.telemetry import names
from shared.telemetry.propagation import traceparent_of, tracestate_of
from shared.telemetry.spans import fail_span, span
from shared.workloads import (
    ItemCall,
    ItemFailed,
    ItemOutcome,
    ItemSucceeded,
    PauseJobError,
    RunContext,
    RunKilledError,
    UnknownWorkloadError,
    WorkloadRun,
)

_log = logging.getLogger(__name__)


class ItemPausedError(MeshError):
    """An item met a quota: which one, at which attempt, and what is known of the quota."""

    def __init__(self, index: int, attempt: int, pause: PauseJobError) -> None:
        super().__init__(f"item {index}: {pause.reason}")
        self.index = index
        self.attempt = attempt if pause.attempt is None else pause.attempt
        self.pause = pause


class ChunkItems:
    """What one run does with its items."""

    def __init__(self, ports: RunnerPorts, task: ChunkTask, lease: Lease, metrics: RunnerMetrics) -> None:
        self._ports = ports
        self._task = task
        self._chunk = task.chunk_id
        self._lease = lease
        self._metrics = metrics
        self._run: WorkloadRun | None = None

    def kill(self) -> None:
        """End the item that runs, if one does."""
        if self._run is not None:
            self._run.kill()

    async def run(self, spec: JobSpec, missing: tuple[int, ...], publisher: ResultPublisher) -> None:
        """Run the missing items to their results, and hand each to the publisher.

        Raises:
            LeaseLostError, RunKilledError: stop; nothing more is to be published.
            ItemPausedError: stop and pause the job; what has ended before is with the publisher.
            RetryableError: Kafka, the blob store, or something the workload needs did not answer.
        """
        try:
            workload = self._ports.workloads.get(spec.workload)
        except (
            UnknownWorkloadError,
            ConfigurationError,
        ) as error:  # not here, though the router has it
            await self._fail_all(str(error), spec, missing, publisher)
            return
        if spec.items is None:
            await self._fail_all("the job's items are not at hand", spec, missing, publisher)
            return
        async with workload.open(self._context(spec)) as run:
            self._run = run
            try:
                for index in missing:
                    await self._lease.renew()
                    await publisher.add(await self._item(run, spec, index, spec.items[index]))
                    if workload.flush_each_item:
                        await publisher.flush()
            finally:
                self._run = None  # what the workload keeps warm is no longer this run's to kill

    async def _fail_all(
        self, message: str, spec: JobSpec, missing: tuple[int, ...], publisher: ResultPublisher
    ) -> None:
        _log.error("chunk %s cannot run here: %s", self._task.chunk, message)
        for index in missing:
            now = self._ports.clock.now_ms()
            result = await self._result(ItemFailed("internal", message, duration_seconds=0.0), spec, index, 0.0)
            await publisher.add(TimedResult(result, now, now, len(message)))

    async def _item(self, run: WorkloadRun, spec: JobSpec, index: int, item: JsonValue) -> TimedResult:
        clock = self._ports.clock
        attributes: dict[str, str | int] = {
            names.JOB_ID: self._chunk.job_id,
            names.JOB_WORKLOAD: spec.workload,
            names.ITEM_INDEX: index,
        }
        started_at, began = clock.now_ms(), clock.monotonic()
        with span(names.PROCESS_ITEM, attributes=attributes) as item_span:
            call = ItemCall(
                index=index,
                item=item,
                attempt=self._task.attempt,
                idempotency_key=f"{self._chunk.job_id}/{self._chunk.stage}/{index}",
                epoch=self._chunk.epoch,
                traceparent=traceparent_of(item_span),
                tracestate=tracestate_of(item_span),
            )
            try:
                outcome = await _outcome(run, call)
            except PauseJobError as pause:
                item_span.set_attribute(names.REASON, pause.reason)
                raise ItemPausedError(index, call.attempt, pause) from pause
            result = await self._result(outcome, spec, index, clock.monotonic() - began)
            item_span.set_attribute(names.ITEM_STATUS, result.status)
            if result.error_type is not None:
                item_span.set_attribute(names.ERROR_TYPE, result.error_type)
                fail_span(item_span, result.error_type)  # the message is for who submitted it
        self._metrics.item_ended(spec.workload, result)
        inline = len(outcome.output_json) if isinstance(outcome, ItemSucceeded) else len(result.error_message or "")
        return TimedResult(result, started_at, clock.now_ms(), min(inline, MAX_INLINE_BYTES))

    async def _result(self, outcome: ItemOutcome, spec: JobSpec, index: int, seconds: float) -> FactResult:
        """The outcome as a result.

        Raises:
            RetryableError: the blob store did not take the output for `patience_seconds`.
        """
        convert = partial(
            fact_result,
            outcome,
            index=index,
            attempt=self._task.attempt,
            measured_seconds=seconds,
            blob_name=f"{spec.tenant}/{self._chunk.job_id}/{self._chunk.stage}/{self._chunk.epoch}/{index}.json",
            blobs=self._ports.blobs,
        )
        try:
            return await with_patience(convert, seconds=self._ports.patience_seconds, clock=self._ports.clock)
        except ConfigurationError as error:
            return await self._result(ItemFailed("internal", str(error)), spec, index, seconds)

    def _context(self, spec: JobSpec) -> RunContext:
        return RunContext(
            job_id=self._chunk.job_id,
            tenant=spec.tenant,
            labels=spec.labels,
            stage=self._chunk.stage,
            epoch=self._chunk.epoch,
            chunk_id=self._task.chunk,
            options=spec.options,
            item_timeout_seconds=None if spec.item_timeout_ms is None else spec.item_timeout_ms / 1000,
            stream=spec.stream,
            settings=self._ports.settings,
            advice=spec.advice,
            check_claim=self._lease.check,
        )


async def _outcome(run: WorkloadRun, call: ItemCall) -> ItemOutcome:
    try:
        return await run.item(call)
    except (LeaseLostError, RunKilledError, PauseJobError, RetryableError):
        raise
    except Exception as error:  # noqa: BLE001 - a plug-in's own failure concerns this item alone
        _log.exception("item %s: its workload failed", call.idempotency_key)
        return ItemFailed("internal", describe(error))
