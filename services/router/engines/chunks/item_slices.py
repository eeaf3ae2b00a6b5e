"""The items of a chunk, run many at a time, where what an item costs by itself would exceed what it does."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from opentelemetry.context import get_current

from services.router.engines.chunks.fact_result import ItemPausedError
from services.router.engines.chunks.item_calls import concerns_the_run, item_call
from services.router.engines.chunks.item_results import ItemResults
from services.router.engines.chunks.item_spans import ItemSpans
from services.router.engines.chunks.result_publisher import ResultPublisher
from services.router.engines.chunks.runner_metrics import RunnerMetrics
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.spec_cache import JobSpec
from services.router.engines.chunks.task import ChunkTask
from services.router.engines.python.item_host.outputs import describe
from shared.backoff.patience import with_patience
from shared.errors import MeshError, RetryableError, StillRunningError
from shared.facts.jobs import FactResult
from shared.history.runs.lease import Lease
from shared.workloads import ItemCall, ItemFailed, ItemOutcome, PauseJobError, SlicedRun

SLICE_SECONDS: Final = 0.1
"""What a slice is to take."""

MAX_SLICE_ITEMS: Final = 5_000

_LONGEST = 10
"""How many times longer a slice is whose items run at once."""

_MOST_IDLE = 10
"""So many slices without an outcome in a row are a failure of the plug-in, and none of time."""

_log = logging.getLogger(__name__)


class SliceError(MeshError):
    """The plug-in failed in a slice: the first of its items that has no outcome fails."""


class SliceSize:
    """How many items the next slice has: one, or those that run at once, while nothing is known of what they take."""

    def __init__(self) -> None:
        self._seconds_an_item = math.inf

    def ran(self, items: int, seconds: float) -> None:
        """So many items have just taken so long together."""
        if items:
            self._seconds_an_item = max(seconds, 1e-9) / items

    def items(self, at_once: int) -> int:
        """How many, where so many run at a time: such slices are longer, since at the end of each ever fewer run."""
        seconds = SLICE_SECONDS * min(at_once, _LONGEST)
        return max(at_once, min(MAX_SLICE_ITEMS, int(seconds / self._seconds_an_item)))


class ItemSlices:
    """Runs the items of one run in slices."""

    def __init__(
        self,
        parts: ChunkRunnerParts,
        task: ChunkTask,
        lease: Lease,
        metrics: RunnerMetrics,
        spec: JobSpec,
        publisher: ResultPublisher,
    ) -> None:
        self._parts = parts
        self._task = task
        self._chunk = task.chunk_id
        self._lease = lease
        self._metrics = metrics
        self._workload = spec.workload
        self._items = spec.items or ()
        self._publisher = publisher
        self._results = ItemResults(parts, task, spec)
        self._spans = ItemSpans(task, spec, parts.settings.item_spans)
        self._until = math.inf
        """When the items of the slice that runs may begin at the latest, once the workload has asked."""

    async def run(self, run: SlicedRun, missing: tuple[int, ...]) -> None:
        """Run the missing items, and give each result to the publisher.

        Raises:
            LeaseLostError, RunKilledError: stop; nothing more may be published.
            ItemPausedError: stop and pause the job; the publisher has the results so far.
            RetryableError: Kafka, the blob store, or something that the workload needs did not answer.
        """
        waiting, size = deque(missing), SliceSize()

        async def ask() -> RetryableError | None:
            return await self._slice(run, waiting, size)

        idle = 0
        while waiting:
            self._lease.check()
            before, self._until = len(waiting), math.inf
            lasting = await with_patience(ask, seconds=self._parts.patience_seconds, clock=self._parts.clock)
            if lasting is not None:
                raise lasting
            had_time = self._parts.clock.monotonic() < self._until
            idle = idle + 1 if len(waiting) == before and had_time else 0
            if idle == _MOST_IDLE:
                idle = 0
                await self._fail(waiting.popleft(), SliceError("its workload gave no outcome"))

    async def _slice(self, run: SlicedRun, waiting: deque[int], size: SliceSize) -> RetryableError | None:
        """Run some items that wait, and take them off. Returns what it is no use to ask again for.

        Raises:
            RetryableError: the workload cannot run an item now; what has been run is taken off.
        """
        indexes = [waiting.popleft() for _ in range(min(size.items(_at_once(run)), len(waiting)))]
        left = {
            index: item_call(self._chunk, index, self._items[index], attempt=self._task.attempt) for index in indexes
        }
        clock = self._parts.clock
        began = clock.monotonic()
        try:
            async with aclosing(self._given(run, list(left.values()))) as given:
                async for outcomes in given:
                    try:
                        await self._take(outcomes, left, began)
                    except RetryableError as error:
                        return error
        except PauseJobError as pause:
            index = next(iter(left), indexes[-1])
            raise ItemPausedError(index, self._task.attempt, pause) from pause
        except StillRunningError as error:  # a second run of it must not begin beside it
            return error
        except SliceError as error:
            for index in [*left][:1]:
                await self._fail(index, error)
                del left[index]
        finally:
            waiting.extendleft(reversed(left))
        size.ran(len(indexes) - len(left), clock.monotonic() - began)
        return None

    async def _given(
        self, run: SlicedRun, calls: Sequence[ItemCall]
    ) -> AsyncGenerator[Sequence[tuple[ItemCall, ItemOutcome]]]:
        """What the plug-in gives.

        Raises:
            SliceError: it failed by itself.
            PauseJobError, LeaseLostError, RunKilledError, RetryableError: see `SlicedRun.slice`.
        """
        try:
            async with aclosing(run.slice(calls, self._begin_until)) as given:
                async for outcomes in given:
                    yield list(outcomes)
        except PauseJobError:
            raise
        except BaseException as error:
            if concerns_the_run(error):
                raise
            _log.exception("chunk %s: its workload failed", self._task.chunk)
            raise SliceError(describe(error)) from error

    async def _fail(self, index: int, error: SliceError) -> None:
        """A plug-in's own failure fails one item alone."""
        now = self._parts.clock.now_ms()
        result = await self._end(index, ItemFailed("internal", str(error)), seconds=0.0, ended_at=now)
        self._metrics.items_ended(self._workload, [result])

    def _begin_until(self) -> float:
        """Half a heartbeat from now, so that a lease that was lost meanwhile is noticed between two slices."""
        self._until = self._lease.ends_at(at_most_seconds=self._parts.settings.heartbeat_seconds / 2)
        return self._until

    async def _take(
        self, outcomes: Sequence[tuple[ItemCall, ItemOutcome]], left: dict[int, ItemCall], began: float
    ) -> None:
        """Give the publisher results of outcomes that have just come, and take their items off.

        Raises:
            SliceError: the plug-in gave something else.
            RetryableError: the blob store, or Kafka, did not answer.
        """
        clock = self._parts.clock
        longest, now = clock.monotonic() - began, clock.now_ms()
        results: list[FactResult] = []
        try:
            for given in outcomes:
                index, outcome, seconds = _checked(given, left, longest)
                results.append(await self._end(index, outcome, seconds=seconds, ended_at=now))
                del left[index]
        finally:
            self._metrics.items_ended(self._workload, results)

    async def _end(self, index: int, outcome: ItemOutcome, *, seconds: float, ended_at: int) -> FactResult:
        """An item has ended."""
        timed = await self._results.of(outcome, index, seconds=seconds, ended_at=ended_at)
        await self._publisher.add(timed)
        self._spans.ended(timed, get_current())
        return timed.result


def _checked(
    given: tuple[ItemCall, ItemOutcome], left: Mapping[int, ItemCall], longest: float
) -> tuple[int, ItemOutcome, float]:
    """What a plug-in gave: an item's index and outcome, and what it took, in seconds; `longest` where it does not say.

    Raises:
        SliceError: it is no outcome of a call that has none yet.
    """
    try:
        call, outcome = given
        index = call.index
        is_known = left[index] is call
        own = getattr(outcome, "duration_seconds", None)
        seconds = own if isinstance(own, int | float) and 0 <= own <= longest else longest
    except BaseException as error:
        if concerns_the_run(error):
            raise
        raise SliceError(f"its workload gave no outcome of a call: {describe(error)}") from error
    if not is_known:
        raise SliceError("its workload gave the outcome of another call")
    return index, outcome, seconds


def _at_once(run: SlicedRun) -> int:
    """How many items of it run at a time; a plug-in that does not say runs one."""
    try:
        return max(1, min(MAX_SLICE_ITEMS, int(getattr(run, "at_once", 1))))
    except BaseException as error:
        if concerns_the_run(error):
            raise
        _log.exception("a workload does not say how many items run at once: one")
        return 1
