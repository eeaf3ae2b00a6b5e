"""What cannot be read of a fetch: which offsets are told, and where reading goes on."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from eldermesh.kafka import unreadable
from eldermesh.kafka.log_gaps import GAP_SECONDS, LogGaps
from eldermesh.kafka.unreadable import DAMAGED_AFTER, ReadableResults, UnreadableRecord
from tests.hostile_batches import batch_of, broken_compression, ending_at, placed, unreadable_header

PARTITION = TopicPartition("jobs", 0)


class Partition:
    """A partition as a consumer of aiokafka reads it: fetch by fetch, each from where the one before ended."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.now = 0.0
        self._results = ReadableResults({}, LogGaps(lambda: self.now))

    def read(self, *batches: bytes) -> list[Any]:
        """The records of a fetch that has brought these batches."""
        fetched = PartitionRecords(
            PARTITION,
            MemoryRecords(b"".join(batches)),
            aborted_transactions=[],
            fetch_offset=self.position,
            key_deserializer=None,
            value_deserializer=None,
            check_crcs=True,
            isolation_level=READ_UNCOMMITTED,
        )
        self._results[PARTITION] = FetchResult(PARTITION, assignment=None, partition_records=fetched, backoff=0)
        readable = self._results[PARTITION]._partition_records  # noqa: SLF001 - as aiokafka does
        records = list(readable)
        self.position = readable.next_fetch_offset
        return records

    def read_until_told(self, *batches: bytes) -> list[Any]:
        """The records of the last of as many fetches as make a batch count as damaged; those before had none."""
        for _ in range(DAMAGED_AFTER - 1):
            assert self.read(*batches) == []
        return self.read(*batches)


def damaged(batch: bytes) -> bytes:
    """The batch with another last byte."""
    return batch[:-1] + bytes([batch[-1] ^ 1])


def old_format() -> bytes:
    """A batch as it was before Kafka 0.11."""
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    builder.append(0, 1, None, b"y")
    return bytes(builder.build())


def offsets(records: list[Any]) -> list[tuple[int, bool]]:
    """Where they lie, and whether they can be read."""
    return [(record.offset, not isinstance(record, UnreadableRecord)) for record in records]


def test_behind_a_gap_only_what_is_there_is_told() -> None:
    """A compacted topic has given up what was before it."""
    partition = Partition(0)
    batch = placed(unreadable_header([b"x"] * 3), 300_000)
    assert partition.read(batch) == []
    partition.now += GAP_SECONDS
    records = partition.read(batch)
    assert offsets(records) == [(300_000, False), (300_001, False), (300_002, False)]
    assert partition.position == 300_003


def test_what_appears_late_is_read_in_its_place() -> None:
    """The fetch ends before the gap, and the next one begins with what was missing."""
    partition = Partition(7)
    first, missing, last = (placed(batch_of([b"x"]), offset) for offset in (7, 8, 9))
    assert offsets(partition.read(first, last)) == [(7, True)]
    partition.now += GAP_SECONDS - 1
    assert partition.read(last) == []
    assert partition.position == 8
    assert offsets(partition.read(missing, last)) == [(8, True), (9, True)]


def test_each_gap_has_its_own_time() -> None:
    """One that was filled says nothing of the next; one that stays is the last that is waited for."""
    partition = Partition(0)
    first, third, fifth, ninth = (placed(batch_of([b"x"]), offset) for offset in (0, 2, 4, 8))
    assert offsets(partition.read(first, third)) == [(0, True)]
    partition.now += GAP_SECONDS - 1
    assert offsets(partition.read(placed(batch_of([b"x"]), 1), third, fifth)) == [(1, True), (2, True)]
    partition.now += GAP_SECONDS - 1
    assert partition.read(fifth) == []
    partition.now += 1
    assert offsets(partition.read(fifth, ninth)) == [(4, True), (8, True)]


@pytest.mark.parametrize("last_offset", [-1, -100])
def test_a_batch_that_says_it_ends_before_it_begins(last_offset: int) -> None:
    """It stands for one record: the broker gives the offset behind that to the next one."""
    partition = Partition(50)
    records = partition.read(placed(ending_at(unreadable_header([b"x"]), last_offset), 50))
    assert offsets(records) == [(50, False)]
    assert partition.position == 51


def test_a_batch_that_has_more_records_than_it_says() -> None:
    """The next publisher's record has the offset behind the batch, and is not passed over."""
    partition = Partition(50)
    bad = placed(ending_at(unreadable_header([b"x"] * 3, at=2), 0), 50)
    assert offsets(partition.read(bad)) == [(50, True), (51, True), (50, False)]
    assert partition.position == 51


def test_nothing_is_read_of_a_batch_that_does_not_match_its_checksum() -> None:
    """It may be damaged on its way, so it is fetched anew; then it is told."""
    partition = Partition(0)
    records = partition.read_until_told(damaged(batch_of([b"x"])))
    assert offsets(records) == [(0, False)]
    assert partition.position == 1


def test_one_that_is_whole_when_fetched_anew_is_read() -> None:
    """And the count of failures begins again."""
    partition = Partition(0)
    whole = batch_of([b"x"])
    for _ in range(DAMAGED_AFTER - 1):
        assert partition.read(damaged(whole)) == []
    assert offsets(partition.read(whole)) == [(0, True)]


def test_a_damaged_batch_ends_where_it_says_if_a_whole_one_begins_there() -> None:
    """In one step, from its beginning on."""
    partition = Partition(0)
    behind = placed(batch_of([b"y"]), 8)
    records = partition.read_until_told(placed(damaged(batch_of([b"x"] * 3)), 5), behind)
    assert offsets(records) == [(5, False), (6, False), (7, False)]
    assert partition.position == 8
    assert offsets(partition.read(behind)) == [(8, True)]


@pytest.mark.parametrize(
    "behind",
    [
        b"",
        placed(batch_of([b"y"]), 4),
        placed(damaged(batch_of([b"y"])), 3),
        bytes(12),
    ],
    ids=["nothing", "elsewhere", "damaged", "no batch"],
)
def test_else_a_damaged_batch_is_passed_over_offset_by_offset(behind: bytes) -> None:
    """Its length may be wrong, too, and a whole one lie within."""
    partition = Partition(0)
    records = partition.read_until_told(damaged(batch_of([b"x"] * 3)), behind)
    assert offsets(records) == [(0, False)]
    assert partition.position == 1


def test_so_is_a_damaged_batch_of_the_old_format() -> None:
    """It does not say where it begins."""
    partition = Partition(0)
    records = partition.read_until_told(damaged(old_format()), placed(old_format(), 1))
    assert offsets(records) == [(0, False)]
    assert partition.position == 1


@pytest.mark.parametrize(
    ("count", "of_the_rest"),
    [
        (4, ""),
        (5, "; so it is with the 1 record before it"),
        (6, "; so it is with the 2 records before it"),
    ],
)
def test_the_last_letter_says_how_many_it_stands_for(
    count: int, of_the_rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that have no letter of their own, besides itself."""
    monkeypatch.setattr(unreadable, "MAX_TOLD", 3)
    records = Partition(0).read(broken_compression([b"x"] * count, "zstd"))
    assert [record.offset for record in records] == [0, 1, 2, count - 1]
    assert records[3].unreadable.reason == records[2].unreadable.reason + of_the_rest


@pytest.mark.parametrize(("position", "told"), [(2, [2, 9]), (3, [9]), (7, [9])])
def test_a_batch_has_so_many_letters_however_often_it_is_fetched(
    position: int, told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes again goes on with the letters where they ended."""
    monkeypatch.setattr(unreadable, "MAX_TOLD", 3)
    records = Partition(position).read(broken_compression([b"x"] * 10, "zstd"))
    assert [record.offset for record in records] == told


def test_what_an_inbox_holds_decompressed_is_bounded() -> None:
    """A batch may have 8 MiB: the partitions of an inbox take turns, and each holds one."""
    fits, too_large = (batch_of([bytes(size)], codec="zstd") for size in (7 << 20, 8 << 20))
    assert offsets(Partition(0).read(fits)) == [(0, True)]
    (refused,) = Partition(0).read(too_large)
    assert refused.unreadable.error_type == "too_large"
