"""What cannot be read of a topic is passed over: in its place a consumer gets an `UnreadableRecord`."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CorruptRecordException  # noqa: TID251 - the layer translates them

from eldermesh.contract.vocabulary import DeadLetterType
from eldermesh.counted import counted
from eldermesh.kafka.decompression import MAX_BATCH_BYTES, BatchTooLargeError, Decompression
from eldermesh.kafka.log_gaps import LogGaps

DAMAGED_AFTER: Final = 3
"""How often in a row a batch, fetched anew each time, has to differ from its checksum before it counts as damaged where
it lies, not on its way."""

MAX_TOLD: Final = 10_000
"""Records of a batch that are told one by one; of those behind them only the last is. A batch may hold millions."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a record cannot be read, as its dead letter says it."""

    error_type: DeadLetterType
    reason: str


@dataclasses.dataclass
class UnreadableRecord(ConsumerRecord):  # type: ignore[misc]  # aiokafka has no types
    """Stands for a record whose bytes the client library cannot read: only its position is known."""

    unreadable: Unreadable = dataclasses.field(kw_only=True)


@dataclasses.dataclass(frozen=True, slots=True)
class PassedOver:
    """A stretch of records, from `first` to before `end`, that cannot be read. The log of this module has them."""

    topic: str
    partition: int
    first: int
    end: int
    reason: str

    def __str__(self) -> str:
        number = counted(self.end - self.first, "record")
        return f"{number} of {self.topic}/{self.partition} from offset {self.first} on passed over: {self.reason}"


_Failures = dict[TopicPartition, tuple[int, int]]
"""By partition: a position where a batch did not match its checksum, and how often in a row."""


class ReadableResults(dict[TopicPartition, Any]):
    """What a fetcher of aiokafka has fetched, by partition. Whoever takes records from it never fails at one.

    Nor does it pass over one that the broker shows a little late.
    """

    def __init__(self, fetched: dict[TopicPartition, Any], gaps: LogGaps | None = None) -> None:
        super().__init__()
        self._damaged: _Failures = {}
        self._gaps = LogGaps() if gaps is None else gaps
        for partition, result in fetched.items():
            self[partition] = result

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        records = getattr(result, "_partition_records", None)
        if records is not None:  # else it stands for a fetch that failed
            result._partition_records = _ReadableRecords(  # noqa: SLF001 - there is no public place
                partition, records, self._damaged, self._gaps
            )
        super().__setitem__(partition, result)


class _ReadableRecords:
    """The records of one fetch of a partition, in place of aiokafka's `PartitionRecords`, which ends where it fails.

    It fails at a batch that cannot be decompressed within the bound, or does not match its checksum, and at a record
    like one with a header whose *name* is no UTF-8. A batch is read from its beginning, so what follows such a record
    in its batch cannot be read, either. The fetch ends there: the loop breathes, and reads on behind the batch.
    """

    def __init__(self, partition: TopicPartition, unpacked: Any, damaged: _Failures, gaps: LogGaps) -> None:
        self._partition = partition
        self._unpacked = unpacked
        self._damaged = damaged
        self._gaps = gaps
        self._batches = unpacked._records = _Batches(unpacked._records, self._may_be_filled)  # noqa: SLF001 - there is no public place
        unpacked._check_crcs = False  # noqa: SLF001 - `_Batches` does
        self._records = self._read()

    @property
    def next_fetch_offset(self) -> int:
        """Where the partition is to be fetched next; aiokafka asks for it."""
        offset: int = self._unpacked.next_fetch_offset
        return offset

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._records)

    def _read(self) -> Iterator[Any]:
        while True:
            try:
                with self._batches.decompression:
                    record = next(self._unpacked)
            except (StopIteration, _MissingRecordsError):
                return
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever foreign bytes make the library raise
                yield from self._pass_over(error)
                return
            yield record

    def _may_be_filled(self, offset: int) -> bool:
        return self._gaps.may_be_filled(self._partition, self.next_fetch_offset, offset)

    def _pass_over(self, error: Exception) -> Iterator[UnreadableRecord]:
        position = self.next_fetch_offset
        batch = self._batches.current
        if batch is None:
            if not self._is_damaged_for_good(position):
                return  # to be fetched anew
            batch = self._batches.damaged()
        base = getattr(batch, "base_offset", position)  # batches of the old format have none
        end = max(getattr(batch, "next_offset", position), base + 1)  # one may say that it ends before it begins,
        first = min(max(position, base), end - 1)  # or have more records than it says; behind a gap it is far ahead
        told_end = min(end, max(first, base + MAX_TOLD))
        unreadable = _why(error)
        passed_over = PassedOver(self._partition.topic, self._partition.partition, first, end, unreadable.reason)
        _log.warning("%(passed_over)s", {"passed_over": passed_over})
        for offset in range(first, told_end):
            yield self._passed(offset, unreadable)
        if told_end < end:
            if untold := end - 1 - told_end:
                reason = f"{unreadable.reason}; so it is with the {counted(untold, 'record')} before it"
                unreadable = dataclasses.replace(unreadable, reason=reason)
            yield self._passed(end - 1, unreadable)

    def _is_damaged_for_good(self, position: int) -> bool:
        failed_at, times = self._damaged.pop(self._partition, (position, 0))
        times = times + 1 if failed_at == position else 1
        if times < DAMAGED_AFTER:
            self._damaged[self._partition] = (position, times)
        return times >= DAMAGED_AFTER

    def _passed(self, offset: int, unreadable: Unreadable) -> UnreadableRecord:
        self._unpacked.next_fetch_offset = offset + 1
        return UnreadableRecord(
            topic=self._partition.topic,
            partition=self._partition.partition,
            offset=offset,
            timestamp=-1,
            timestamp_type=0,
            key=None,
            value=None,
            checksum=None,
            serialized_key_size=-1,
            serialized_value_size=-1,
            headers=(),
            unreadable=unreadable,
        )


class _MissingRecordsError(Exception):
    """What lies before the next batch may still appear: the fetch ends here."""


class _Batches:
    """The batches of one fetch; `current` is the one that is read, unless it does not match its checksum.

    All of them together are decompressed to little more than one may be: the others are fetched again.
    """

    def __init__(self, records: Any, may_be_filled: Callable[[int], bool]) -> None:
        self._records = records
        self._may_be_filled = may_be_filled
        self._damaged: Any = None
        self.current: Any = None
        self.decompression = Decompression()

    def has_next(self) -> bool:
        """Whether there is another one to be read now."""
        return self.decompression.unpacked_bytes < MAX_BATCH_BYTES and self._records.has_next()

    def next_batch(self) -> Any:
        """The next one."""
        batch = self._whole()
        offset = getattr(batch, "base_offset", None)  # batches of the old format have none
        if offset is not None and self._may_be_filled(offset):
            raise _MissingRecordsError
        return batch

    def _whole(self) -> Any:
        self.current = None
        batch = self._records.next_batch()
        if not batch.validate_crc():
            self._damaged = batch
            raise CorruptRecordException("the batch does not match its checksum")
        self.current = batch
        return batch

    def damaged(self) -> Any:
        """The one that does not match its checksum, if a whole one begins where it says that it ends.

        Else nothing that it says of itself can be relied on: with a length that is wrong it may contain a whole one.
        """
        damaged = self._damaged
        if damaged is None or not self._records.has_next():
            return None
        try:
            whole = self._whole()
        except Exception:  # noqa: BLE001 - whatever foreign bytes make the library raise
            return None
        return damaged if getattr(whole, "base_offset", None) == damaged.next_offset else None


def _why(error: Exception) -> Unreadable:
    if isinstance(error, BatchTooLargeError):
        return Unreadable("too_large", f"{error}; the topic still has it")
    return Unreadable(
        "undecodable", f"the record's bytes cannot be read ({type(error).__name__}); the topic still has them"
    )
