"""Records that an inbox has read but not committed: handed out by rank, committed in the order of the log."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition

from shared.consumer.backlog_pace import Waiting
from shared.consumer.record import ConsumedRecord
from shared.history.fair_queue import WaitingSubject
from shared.history.owner_parts import Rank
from shared.history.ranked_queue import RankedQueue
from shared.history.waiting_chunks import WaitingChunks

MOST_RECORDS = 12_000
"""Of one inbox, those included that are done but wait for an older one to be committed; shared by its partitions."""

MOST_BYTES = 8 * 1024 * 1024
"""Of the records of one inbox that wait, shared by its partitions. What one more poll brings may come on top."""

BATCH_RECORDS = 10
"""Most that are handed out at once: tens of milliseconds of work, for which a more urgent one has to wait."""

BATCH_BYTES = 64 * 1024
"""After so many bytes no other record is handed out with them: large ones may take half a second each."""

Ranking = Callable[[ConsumedRecord, int], Rank]
"""The rank of a record; the second argument counts records as they came. Quick for any bytes, and it never raises."""

PassesOver = Callable[[ConsumedRecord], bool]
"""Whether a record is not for the handler. As quick, and it never raises."""


@dataclass(slots=True, eq=False)
class _Held:
    """A record that is not committed; once it is done, only its place is kept."""

    raw: Any
    offset: int
    rank: Rank | None
    size_bytes: int
    is_done: bool = False


@dataclass(slots=True, eq=False)
class _Partition:
    """What is held of a partition, in the order of its log."""

    held: deque[_Held] = field(default_factory=deque)
    size_bytes: int = 0
    next_offset: int = 0


@dataclass(slots=True, eq=False)
class _Line:
    """Records of one key, in their order; only the first of them is filed to be handed out."""

    records: deque[_Held] = field(default_factory=deque)
    filed: WaitingSubject[_Held] | None = None


class ReadAhead:
    """Hands out the records that wait, some at a time: by priority, fair among tenants, in the order of their coming.

    Records of one key and partition keep their order: one waits until those before it were handed out, whatever their
    ranks. Those that are handed out at once have one priority, so that one which is more urgent need not share. Beside
    them goes the oldest record of each partition that is full, whatever its rank: else nobody behind it would be read.

    Args:
        ranking: what ranks a record.
        prefix: of the names of topics.
        passes_over: tells a record that nobody will handle; it is done at once. Without it there is none.
    """

    def __init__(self, ranking: Ranking, prefix: str, passes_over: PassesOver | None = None) -> None:
        self._ranking = ranking
        self._passes_over = passes_over
        self._prefix = prefix
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._lines: defaultdict[tuple[TopicPartition, bytes | int], _Line] = defaultdict(_Line)
        self._filed: RankedQueue[_Held] = RankedQueue()
        self._handed_out: list[_Held] = []
        self._came = 0
        self._sharing = 1
        """How many partitions share the room."""

    def __bool__(self) -> bool:
        """Whether a record waits."""
        return bool(self._lines)

    @property
    def next_records(self) -> Waiting | None:
        """What waits with the priority that comes next, of each key its first record; None if nothing does."""
        queue = self._filed.first()
        first = None if queue is None else queue.first()
        return None if queue is None or first is None else Waiting(first.rank.priority, queue.waiting())

    def with_room(self, partitions: Collection[TopicPartition]) -> list[TopicPartition]:
        """Those of the partitions, which share the room, of which more may be read."""
        self._sharing = max(1, len(partitions))
        return [each for each in partitions if self._has_room(each, len(partitions))]

    def position(self, partition: TopicPartition) -> int | None:
        """The offset behind the last record that was read; None if none was."""
        known = self._partitions.get(partition)
        return None if known is None else known.next_offset

    def add(self, raw: Any) -> int:
        """Hold a record that was read (aiokafka's), if it is to be handled; its size in bytes."""
        record = ConsumedRecord.of(raw, prefix=self._prefix)
        log = self._partitions.setdefault(_partition_of(raw), _Partition())
        log.next_offset = raw.offset + 1
        if self._passes_over is not None and self._passes_over(record):
            return 0
        self._came += 1
        held = _Held(raw, raw.offset, self._ranking(record, self._came), record.size_bytes)
        log.held.append(held)
        log.size_bytes += held.size_bytes
        line = self._lines[_name(raw)]
        line.records.append(held)
        self._file(line)
        return held.size_bytes

    def take(self) -> list[Any]:
        """The records to handle now, in the order in which to begin; none if none waits.

        They stay handed out until `finish` or `give_back`.
        """
        for partition, log in self._partitions.items():
            if log.held and log.held[0] not in self._handed_out and not self._has_room(partition, self._sharing):
                self._hand_out(log.held[0])
        queue = self._filed.first()
        size_bytes = 0
        while queue is not None and len(self._handed_out) < BATCH_RECORDS and size_bytes < BATCH_BYTES:
            held = queue.take()
            if held is None:
                break
            self._hand_out(held)
            size_bytes += held.size_bytes
        return [held.raw for held in self._handed_out]

    def _hand_out(self, held: _Held) -> None:
        """A record that comes next of its key."""
        name = _name(held.raw)
        line = self._lines[name]
        line.records.popleft()
        if line.filed is not None:
            line.filed.chunks = WaitingChunks()  # its queue drops it
            line.filed = None
        if line.records:
            self._file(line)
        else:
            del self._lines[name]
        self._handed_out.append(held)

    def to_commit(self) -> dict[TopicPartition, int]:
        """What may be committed once all that is handed out is done, for partitions where that changes anything."""
        done = set(self._handed_out)
        offsets: dict[TopicPartition, int] = {}
        for partition in {_partition_of(held.raw) for held in done}:
            log = self._partitions[partition]
            if log.held[0] in done:
                undone = (held.offset for held in log.held if not held.is_done and held not in done)
                offsets[partition] = next(undone, log.next_offset)
        return offsets

    def passed(self) -> dict[TopicPartition, int]:
        """What may be committed of partitions of which nothing waits: all was passed over, or is done."""
        return {partition: log.next_offset for partition, log in self._partitions.items() if not log.held}

    def finish(self) -> None:
        """All that is handed out is done."""
        for held in self._handed_out:
            log = self._partitions[_partition_of(held.raw)]
            log.size_bytes -= held.size_bytes
            held.raw, held.rank, held.is_done = None, None, True
            while log.held and log.held[0].is_done:
                log.held.popleft()
        self._handed_out = []

    def give_back(self) -> None:
        """What is handed out waits again, before what came after it."""
        for held in reversed(self._handed_out):
            line = self._lines[_name(held.raw)]
            if line.filed is not None:
                line.filed.chunks = WaitingChunks()  # its queue drops it
                line.filed = None
            line.records.appendleft(held)
            self._file(line)
        self._handed_out = []

    def _has_room(self, partition: TopicPartition, sharing: int) -> bool:
        log = self._partitions.get(partition)
        return log is None or (len(log.held) < MOST_RECORDS / sharing and log.size_bytes < MOST_BYTES / sharing)

    def _file(self, line: _Line) -> None:
        if line.filed is None:
            first = line.records[0]
            assert first.rank is not None  # noqa: S101 - for the type checker: it waits
            line.filed = WaitingSubject(first.rank, "", WaitingChunks([first]))
            self._filed.add(line.filed)


def _partition_of(raw: Any) -> TopicPartition:
    return TopicPartition(raw.topic, raw.partition)


def _name(raw: Any) -> tuple[TopicPartition, bytes | int]:
    """Of the line in which a record waits: a record without a key has one of its own."""
    return _partition_of(raw), raw.offset if raw.key is None else raw.key
