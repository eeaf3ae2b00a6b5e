"""The items of a chunk: in slices where the workload takes them, else one after another, with a renewal before each."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, cast

from pydantic import JsonValue

from services.router.engines.chunks.fact_result import ItemPausedError
from services.router.engines.chunks.item_calls import concerns_the_run, item_call
from services.router.engines.chunks.item_results import ItemResults
from services.router.engines.chunks.item_slices import ItemSlices
from services.router.engines.chunks.result_publisher import ResultPublisher, TimedResult
from services.router.engines.chunks.runner_metrics import RunnerMetrics
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.spec_cache import JobSpec
from services.router.engines.chunks.task import ChunkTask
from services.router.engines.python.item_host.outputs import describe
from shared.backoff.os_errors import passes
from shared.backoff.patience import with_patience
from shared.errors import ConfigurationError, MeshError, RetryableError, StillRunningError
from shared.history.runs.lease import Lease
from shared.telemetry import names
from shared.telemetry.propagation import traceparent_of, tracestate_of
from shared.telemetry.spans import fail_span, span
from shared.workloads import (
    ItemCall,
    ItemFailed,
    ItemOutcome,
    PauseJobError,
    RunContext,
    SlicedRun,
    UnknownWorkloadError,
    Workload,
    WorkloadRun,
)

_log = logging.getLogger(__name__)


class UnansweredError(RetryableError):
    """Something that an item needs does not answer; nothing of the item goes on."""


class _CannotOpenError(MeshError):
    """The workload cannot be opened for this chunk, so all items fail; the message says why."""


class ChunkItems:
    """Runs the items of one run."""

    def __init__(self, parts: ChunkRunnerParts, task: ChunkTask, lease: Lease, metrics: RunnerMetrics) -> None:
        self._parts = parts
        self._task = task
        self._chunk = task.chunk_id
        self._lease = lease
        self._metrics = metrics
        self._run: WorkloadRun | SlicedRun | None = None

    def kill(self) -> None:
        """End the item that runs now, if any."""
        if self._run is None:
            return
        try:
            self._run.kill()
        except BaseException as error:
            if concerns_the_run(error):
                raise
            _log.exception("chunk %s: its workload failed to end what runs", self._task.chunk)

    async def run(self, spec: JobSpec, missing: tuple[int, ...], publisher: ResultPublisher) -> None:
        """Run the missing items, and give each result to the publisher.

        Raises:
            LeaseLostError, RunKilledError: stop; nothing more may be published.
            ItemPausedError: stop and pause the job; the publisher has the results so far.
            RetryableError: Kafka, the blob store, or something that the workload needs did not answer. Items that do
                not need it have run.
        """
        try:
            workload = self._parts.workloads.get(spec.workload)
        except (UnknownWorkloadError, ConfigurationError) as error:  # not here, though the router has it
            _log.error("chunk %s cannot run here: %s", self._task.chunk, error)
            await self._fail_all(str(error), spec, missing, publisher)
            return
        if spec.items is None:
            _log.error("chunk %s cannot run here: its job's items are not at hand", self._task.chunk)
            await self._fail_all("the job's items are not at hand", spec, missing, publisher)
            return
        async with AsyncExitStack() as opened:
            opening = partial(self._open, workload, spec, opened)
            try:
                run = await with_patience(opening, seconds=self._parts.patience_seconds, clock=self._parts.clock)
            except _CannotOpenError as error:
                await self._fail_all(str(error), spec, missing, publisher)
                return
            self._run = run
            unanswered: UnansweredError | None = None
            try:
                if hasattr(run, "slice"):  # `isinstance` with the protocol takes a hundred times as long
                    slices = ItemSlices(self._parts, self._task, self._lease, self._metrics, spec, publisher)
                    await slices.run(cast("SlicedRun", run), missing)
                    return
                for index in missing:
                    await self._lease.renew()
                    try:
                        timed = await self._item(run, spec, index, spec.items[index], is_patient=unanswered is None)
                    except UnansweredError as error:
                        unanswered = error
                        continue
                    await publisher.add(timed)
                    if workload.flush_each_item:
                        await publisher.flush()
                if unanswered is not None:
                    raise unanswered
            finally:
                self._run = None  # what the workload keeps warm must not be killed with this run

    async def _open(self, workload: Workload, spec: JobSpec, opened: AsyncExitStack) -> WorkloadRun | SlicedRun:
        """A run of the workload, which `opened` closes.

        Raises:
            _CannotOpenError: trying again would not help.
            RetryableError: trying again may help.
        """
        try:
            context = workload.open(self._context(spec))
            run = await context.__aenter__()
        except BaseException as error:
            if concerns_the_run(error):
                raise
            _log.exception("chunk %s: its workload could not be opened", self._task.chunk)
            if passes(error):
                raise RetryableError(f"workload {spec.workload} cannot be opened now: {describe(error)}") from error
            raise _CannotOpenError(f"workload {spec.workload} cannot be opened: {describe(error)}") from error

        async def close(*failure: Any) -> bool | None:
            # The workload is told how the run ended, and cannot change that: the results stand.
            try:
                await context.__aexit__(*failure)
            except BaseException as error:
                if error is failure[1]:
                    return None
                if concerns_the_run(error) and not isinstance(error, Exception):
                    raise
                _log.exception("chunk %s: its workload could not be closed", self._task.chunk)
            return None

        opened.push_async_exit(close)
        return run

    async def _fail_all(
        self, message: str, spec: JobSpec, missing: tuple[int, ...], publisher: ResultPublisher
    ) -> None:
        results = ItemResults(self._parts, self._task, spec)
        for index in missing:
            now = self._parts.clock.now_ms()
            await publisher.add(await results.of(ItemFailed("internal", message), index, seconds=0.0, ended_at=now))

    async def _item(
        self, run: WorkloadRun, spec: JobSpec, index: int, item: JsonValue, *, is_patient: bool
    ) -> TimedResult:
        """An item's result.

        Raises:
            ItemPausedError: it met a quota.
            UnansweredError: something that it needs did not answer for `patience_seconds`; without `is_patient` it is
                asked once.
        """
        clock = self._parts.clock
        attributes: dict[str, str | int] = {
            names.JOB_ID: self._chunk.job_id,
            names.JOB_WORKLOAD: spec.workload,
            names.ITEM_INDEX: index,
        }
        began = clock.monotonic()
        with span(names.PROCESS_ITEM, attributes=attributes) as item_span:
            call = item_call(
                self._chunk,
                index,
                item,
                attempt=self._task.attempt,
                traceparent=traceparent_of(item_span),
                tracestate=tracestate_of(item_span),
            )
            try:
                outcome = await self._answered(run, call, seconds=self._parts.patience_seconds if is_patient else 0.0)
            except PauseJobError as pause:
                paused = ItemPausedError(index, call.attempt, pause)
                item_span.set_attribute(names.REASON, paused.reason)
                raise paused from pause
            timed = await ItemResults(self._parts, self._task, spec).of(
                outcome, index, seconds=clock.monotonic() - began, ended_at=clock.now_ms()
            )
            result = timed.result
            item_span.set_attribute(names.ITEM_STATUS, result.status)
            if result.error_type is not None:
                item_span.set_attribute(names.ERROR_TYPE, result.error_type)
                fail_span(item_span, result.error_type)  # the message is only for the submitter
        self._metrics.items_ended(spec.workload, [result])
        return timed

    async def _answered(self, run: WorkloadRun, call: ItemCall, *, seconds: float) -> ItemOutcome:
        """The outcome of an item, tried again for `seconds` while something that it needs does not answer."""
        began = False

        async def ask() -> ItemOutcome | StillRunningError:
            nonlocal began
            if began:
                await self._lease.renew()
            began = True
            try:
                return await _outcome(run, call)
            except StillRunningError as error:  # a second run of it must not begin beside it
                return error

        try:
            outcome = await with_patience(ask, seconds=seconds, clock=self._parts.clock)
        except RetryableError as error:
            raise UnansweredError(f"item {call.idempotency_key} cannot run now: {describe(error)}") from error
        if isinstance(outcome, StillRunningError):
            raise outcome
        return outcome

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
            settings=self._parts.settings,
            advice=spec.advice,
            check_claim=self._lease.check,
        )


async def _outcome(run: WorkloadRun, call: ItemCall) -> ItemOutcome:
    try:
        return await run.item(call)
    except PauseJobError:
        raise
    except BaseException as error:
        if concerns_the_run(error):
            raise
        # A plug-in's own failure fails this item alone.
        _log.exception("item %s: its workload failed", call.idempotency_key)
        return ItemFailed("internal", describe(error))
