"""What waits in the engines' queues, as metrics: nobody but the router looks at Celery's lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Protocol

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from services.router.engines.celery.queue import QueueDepths
from shared.logs.setup import get_logger
from shared.telemetry import metric_names, names

LOOK_SECONDS = 10.0
"""Time between two looks: that of the export of metrics."""

_log = get_logger(__name__)


class DepthSource(Protocol):
    """Knows how many tasks wait."""

    async def queue_depths(self) -> QueueDepths:
        """How many tasks wait, and how many are with workers."""
        ...


class QueueDepthMetrics:
    """The gauges of queue depths; each router of a mesh reports the same numbers.

    Args:
        source: is asked; while it does not answer, which is logged, there is no number, rather than an old one.
        told: the depths of queues that nobody has to ask for.
    """

    def __init__(self, source: DepthSource, told: Callable[[], Mapping[str, int]] = dict) -> None:
        self._source = source
        self._told = told
        self._depths: QueueDepths | None = None

    async def keep_looking(self, pause_seconds: float = LOOK_SECONDS) -> None:
        """Look again and again, and tell what was seen, until this is cancelled."""
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
            self._depths = await self._source.queue_depths()
        except Exception as error:  # noqa: BLE001 - telemetry that fails never fails a router
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


_LOOKING: list[QueueDepthMetrics] = []
"""Those that look now: one for each router in this process."""


@cache
def _create_gauges() -> None:
    """Create the gauges, once in a process: the SDK drops the callback of a second gauge of the same name."""
    meter = metrics.get_meter(__name__)
    depth, unacknowledged = metric_names.QUEUE_DEPTH, metric_names.QUEUE_UNACKNOWLEDGED
    meter.create_observable_gauge(depth.name, [_all_waiting], depth.unit, depth.meaning)
    meter.create_observable_gauge(
        unacknowledged.name, [_all_unacknowledged], unacknowledged.unit, unacknowledged.meaning
    )


def _all_waiting(_: CallbackOptions) -> Iterable[Observation]:
    return [seen for looking in tuple(_LOOKING) for seen in looking.waiting()]


def _all_unacknowledged(_: CallbackOptions) -> Iterable[Observation]:
    return [seen for looking in tuple(_LOOKING) for seen in looking.unacknowledged()]
