"""One batch: its lanes side by side within bounds, and nothing committed before every record is done with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shared.consumer.backoff import BatchTime
from shared.consumer.brake import Brake, BrakeError, OwnFailureError
from shared.consumer.record import ConsumedRecord
from shared.consumer.record_processor import RecordProcessor
from shared.errors import RetryableError, StopServiceError

MAX_RECORDS = 100
BATCH_SECONDS = 10.0
"""Longest that a batch takes, retries included. Below the graceful time-out (15 s) and the stop grace period (30 s)."""

CONCURRENCY = 32
_MAX_DONE = 10_000
_MAX_FAILED = 1_000
"""Room for several batches; fewer than `_MAX_DONE`, because each of these holds its record."""

_Coordinates = tuple[str, int, int]


@dataclass(slots=True)
class _Progress:
    """What is known of records that are not committed yet."""

    done: set[_Coordinates] = field(default_factory=set)
    failed: dict[_Coordinates, OwnFailureError] = field(default_factory=dict)
    works: bool = False
    """Whether a record was handled well since the last commit. A batch that is delivered again has only those left that
    the code fails on."""

    def is_judged(self, record: ConsumedRecord) -> bool:
        """Whether there is nothing to do for it, or only its dead letter."""
        return _coordinates(record) in self.done or _coordinates(record) in self.failed

    def bound(self) -> None:
        """Only failing batches leave anything here; forgetting it costs repeats, never a loss."""
        if len(self.done) > _MAX_DONE or len(self.failed) > _MAX_FAILED:
            self.done.clear()
            self.failed.clear()


class BatchRunner:
    """Runs the batches of one subscription, one at a time.

    A batch that fails is delivered again as a whole. Records of it that were done are remembered until the commit, and
    skipped: so slow records make progress, and retries make no repeats.

    A record that our own code fails on is given up: it becomes a dead letter, once the others of its batch are done.
    Only then is it known whether the code fails on them, too, which pulls the brake.

    Args:
        processor: what processes a record.
        seconds: the time a batch may take.
        concurrency: how many lanes run at once.
        brake: what stops the consumer.
    """

    def __init__(
        self,
        processor: RecordProcessor,
        *,
        seconds: float = BATCH_SECONDS,
        concurrency: int = CONCURRENCY,
        brake: Brake | None = None,
    ) -> None:
        self._processor = processor
        self._brake = brake or Brake()
        self._seconds = seconds
        self._room = asyncio.Semaphore(concurrency)
        self._progress = _Progress()
        self.giving_up = asyncio.Event()
        """Set while partitions are about to be given up: the batch at hand is finished, but nothing is retried."""

    async def run(self, records: Sequence[ConsumedRecord]) -> None:
        """Process the records; when this returns, all may be committed.

        Raises:
            RetryableError: some were not done; deliver all again.
            BrakeError: our own code fails, whatever the record; stop.
        """
        progress = self._progress  # `forget` may replace it meanwhile
        waiting = self._for_handler((record for record in records if not progress.is_judged(record)), progress)
        failures: list[Exception] = []
        time = BatchTime(self._seconds, self.giving_up)
        try:
            async with asyncio.timeout_at(time.ends_at):
                async with asyncio.TaskGroup() as lanes:
                    for lane in sort_into_lanes(waiting):
                        lanes.create_task(self._run_lane(lane, progress, time, failures))
                await self._give_up(records, progress, time, failures)
        except TimeoutError:
            failures.append(RetryableError(f"the batch was not done within {self._seconds:g} s"))
        for failure in failures:
            if isinstance(failure, StopServiceError):
                raise failure
        undone = sum(_coordinates(record) not in progress.done for record in records)
        if failures or undone:
            progress.bound()
            raise RetryableError(f"{undone} of {len(records)} records were not done: {failures[:1]}")

    def _for_handler(self, records: Iterable[ConsumedRecord], progress: _Progress) -> list[ConsumedRecord]:
        """Those that are for the handler; of a history these are few, and a lane costs more than the look."""
        chosen: list[ConsumedRecord] = []
        for record in records:
            try:
                if self._processor.passes_over(record):
                    progress.done.add(_coordinates(record))
                else:
                    chosen.append(record)
            except OwnFailureError as failure:
                progress.failed[_coordinates(record)] = failure
        return chosen

    def committed(self, records: Iterable[ConsumedRecord]) -> None:
        """These were committed and will not come again."""
        progress = self._progress
        progress.works = False
        for record in records:
            progress.done.discard(_coordinates(record))
            progress.failed.pop(_coordinates(record), None)

    def forget(self) -> None:
        """The partitions were given up: what was done of their records no longer counts."""
        self._progress = _Progress()

    async def _run_lane(
        self, lane: list[ConsumedRecord], progress: _Progress, time: BatchTime, failures: list[Exception]
    ) -> None:
        for record in lane:
            async with self._room:
                # Lanes that already run are not cut off by another one's failure: that would only make repeats.
                if failures:
                    return
                try:
                    handled = await self._processor.process(record, time)
                except (RetryableError, StopServiceError) as failure:
                    failures.append(failure)
                    return
                except OwnFailureError as failure:
                    progress.failed[_coordinates(record)] = failure
                    continue
                progress.done.add(_coordinates(record))
                if handled:
                    progress.works = True
                    self._brake.handled()

    async def _give_up(
        self, records: Sequence[ConsumedRecord], progress: _Progress, time: BatchTime, failures: list[Exception]
    ) -> None:
        """Make dead letters of those that our own code failed on, unless it fails on whatever comes."""
        undone = [each for each in map(_coordinates, records) if each not in progress.done]
        failed = [progress.failed[each] for each in undone if each in progress.failed]
        try:
            for failure in failed:
                if not progress.works:
                    self._brake.failed(failure)
            for failure in failed:
                await self._processor.give_up(failure, time)
                progress.done.add(_coordinates(failure.record))
        except (RetryableError, BrakeError) as error:
            failures.append(error)


def _coordinates(record: ConsumedRecord) -> _Coordinates:
    return record.topic, record.partition, record.offset


def sort_into_lanes(records: Iterable[ConsumedRecord]) -> list[list[ConsumedRecord]]:
    """A lane for each topic, partition and key, in their order; each record without a key is a lane of its own."""
    keyed: dict[tuple[str, int, bytes], list[ConsumedRecord]] = {}
    lanes: list[list[ConsumedRecord]] = []
    for record in records:
        if record.key is None:
            lanes.append([record])
            continue
        name = (record.topic, record.partition, record.key)
        lane = keyed.get(name)
        if lane is None:
            lane = keyed[name] = []
            lanes.append(lane)
        lane.append(record)
    return lanes
