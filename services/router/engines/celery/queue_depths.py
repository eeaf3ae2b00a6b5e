"""The depths of the engines' queues and the memory of their Redis, as metrics of the router."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from services.router.engines.celery.queue import CeleryDispatcher, QueueDepths
from shared.logs.setup import get_logger
from shared.telemetry import metric_names, names
from shared.telemetry.metric_names import Metric

LOOK_SECONDS = 10.0
"""Time between two looks, as long as that between two exports of metrics."""

_log = get_logger(__name__)


class QueueDepthMetrics:
    """The gauges of queue depths; each router of a mesh reports the same numbers.

    Args:
        celery: asked for its depths; while it does not answer, nothing is reported rather than old numbers.
        told: the depths of other queues, known without asking.
    """

    def __init__(self, celery: CeleryDispatcher, told: Callable[[], Mapping[str, int]] = dict) -> None:
        self._celery = celery
        self._told = told
        self._depths: QueueDepths | None = None

    async def keep_looking(self, pause_seconds: float = LOOK_SECONDS) -> None:
        """Read the depths every `pause_seconds` until cancelled."""
        _create_gauges()
        _LOOKING.append(self)
        try:
            while True:
                await self._look()
                await asyncio.sleep(pause_seconds)
        finally:
            _LOOKING.remove(self)

    async def _look(self) -> None:
        try:
            self._depths = await self._celery.queue_depths()
        except Exception as error:  # noqa: BLE001 - a failure of telemetry must not fail the router
            self._depths = None
            _log.warning("the depth of Celery's queues could not be read", error=repr(error))

    def waiting(self) -> Iterable[Observation]:
        """How many tasks wait, by queue. Called from the exporting thread."""
        depths = self._depths
        for queue, waiting in {**({} if depths is None else depths.waiting), **self._told()}.items():
            yield Observation(waiting, {names.MESSAGING_DESTINATION_NAME: queue})

    def unacknowledged(self) -> Iterable[Observation]:
        """How many tasks are with workers. Called from the exporting thread."""
        depths = self._depths
        return [] if depths is None else [Observation(depths.unacknowledged)]

    def memory(self) -> Iterable[Observation]:
        """The memory that Redis uses. Called from the exporting thread."""
        depths = self._depths
        return [] if depths is None else [Observation(depths.memory_bytes)]

    def memory_limit(self) -> Iterable[Observation]:
        """The memory that Redis may use, if that is limited. Called from the exporting thread."""
        depths = self._depths
        return [] if depths is None or not depths.memory_limit_bytes else [Observation(depths.memory_limit_bytes)]


_LOOKING: list[QueueDepthMetrics] = []
"""One for each router in this process."""


@cache
def _create_gauges() -> None:
    """Create the gauges, once in a process: the SDK drops the callback of a second gauge of the same name."""
    meter = metrics.get_meter(__name__)
    told: dict[Metric, Callable[[QueueDepthMetrics], Iterable[Observation]]] = {
        metric_names.QUEUE_DEPTH: QueueDepthMetrics.waiting,
        metric_names.QUEUE_UNACKNOWLEDGED: QueueDepthMetrics.unacknowledged,
        metric_names.REDIS_MEMORY: QueueDepthMetrics.memory,
        metric_names.REDIS_MEMORY_LIMIT: QueueDepthMetrics.memory_limit,
    }
    for metric, read in told.items():
        meter.create_observable_gauge(metric.name, [partial(_of_all, read)], metric.unit, metric.meaning)


def _of_all(read: Callable[[QueueDepthMetrics], Iterable[Observation]], _: CallbackOptions) -> Iterable[Observation]:
    return [seen for looking in tuple(_LOOKING) for seen in read(looking)]
