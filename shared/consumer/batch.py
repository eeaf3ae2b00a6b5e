"""One batch: its lanes side by side within bounds, and nothing committed before every record is done with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from shared.consumer.backoff import BatchTime
from shared.consumer.lanes import sort_into_lanes
from shared.consumer.processing import BrakeError, RecordProcessor
from shared.consumer.record import ConsumedRecord
from shared.errors import RetryableError, StopServiceError

MAX_RECORDS = 100
BATCH_SECONDS = 10.0
"""Longest that a batch takes, retries included. Below the graceful time-out (15 s) and the stop grace period (30 s)."""

CONCURRENCY = 32
_MAX_DONE = 10_000

_Coordinates = tuple[str, int, int]


class BatchRunner:
    """Runs the batches of one subscription, one at a time.

    A batch that fails is delivered again as a whole. What of it was done already is remembered until it is committed,
    and skipped: so slow records make progress, and retries make no repeats.

    Args:
        processor: what processes a record.
        seconds: the time a batch may take.
        concurrency: how many lanes run at once.
    """

    def __init__(
        self, processor: RecordProcessor, *, seconds: float = BATCH_SECONDS, concurrency: int = CONCURRENCY
    ) -> None:
        self._processor = processor
        self._seconds = seconds
        self._room = asyncio.Semaphore(concurrency)
        self._done: set[_Coordinates] = set()
        self.giving_up = asyncio.Event()
        """Set while partitions are about to be given up: the batch at hand is finished, but nothing is retried."""

    async def run(self, records: Sequence[ConsumedRecord]) -> None:
        """Process the records; when this returns, all may be committed.

        Raises:
            RetryableError: some were not done; deliver all again.
            BrakeError: our own code fails; stop.
        """
        waiting = [record for record in records if _coordinates(record) not in self._done]
        failures: list[Exception] = []
        time = BatchTime(self._seconds, self.giving_up)
        try:
            async with asyncio.timeout_at(time.ends_at), asyncio.TaskGroup() as lanes:
                for lane in sort_into_lanes(waiting):
                    lanes.create_task(self._run_lane(lane, time, failures))
        except TimeoutError:
            failures.append(RetryableError(f"the batch was not done within {self._seconds:g} s"))
        for failure in failures:
            if isinstance(failure, StopServiceError):
                raise failure
        undone = sum(_coordinates(record) not in self._done for record in records)
        if failures or undone:
            self._bound_memory()
            raise RetryableError(f"{undone} of {len(records)} records were not done: {failures[:1]}")

    def committed(self, records: Iterable[ConsumedRecord]) -> None:
        """These were committed and will not come again."""
        self._done.difference_update(_coordinates(record) for record in records)

    def forget(self) -> None:
        """The partitions were given up: what was done of them before says nothing of what comes."""
        self._done.clear()

    async def _run_lane(self, lane: list[ConsumedRecord], time: BatchTime, failures: list[Exception]) -> None:
        for record in lane:
            async with self._room:
                # Lanes that already run are not cut off by another one's failure: that would only make repeats.
                if failures:
                    return
                try:
                    await self._processor.process(record, time)
                except (RetryableError, StopServiceError) as failure:
                    failures.append(failure)
                    return
                except Exception as failure:  # noqa: BLE001 - kept for `run`, which raises it
                    failures.append(_brake(record, failure))
                    return
                self._done.add(_coordinates(record))

    def _bound_memory(self) -> None:
        # Only failing batches leave anything here; forgetting it costs repeats, never a loss.
        if len(self._done) > _MAX_DONE:
            self._done.clear()


def _brake(record: ConsumedRecord, failure: Exception) -> BrakeError:
    error = BrakeError(f"{record!r} cannot be processed: {failure!r}")
    error.__cause__ = failure
    return error


def _coordinates(record: ConsumedRecord) -> _Coordinates:
    return record.topic, record.partition, record.offset
