"""What an inbox has read ahead: handed out by rank, in order by key, and committed in the order of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from shared.consumer import read_ahead
from shared.consumer.read_ahead import BATCH_BYTES, BATCH_RECORDS, ReadAhead
from shared.consumer.record import ConsumedRecord
from shared.history.owner_parts import Rank

_PRIORITIES = {b"i": 0, b"n": 3, b"b": 6}


def _ranking(record: ConsumedRecord, order: int) -> Rank:
    """Values are a priority and a tenant, as in `ia`, and perhaps a name behind a space."""
    value = record.value or b""
    return Rank(_PRIORITIES[value[:1]], order, value[1:2].decode())


def raw(value: str, offset: int, *, key: str | None = None, partition: int = 0) -> Any:
    """A record as aiokafka gives it."""
    encoded = None if key is None else key.encode()
    return ConsumerRecord("jobs", partition, offset, 0, 0, encoded, value.encode(), None, 0, len(value), ())


def _holding(values: Sequence[str], **fields: Any) -> ReadAhead:
    ahead = ReadAhead(_ranking, "")
    for offset, value in enumerate(values):
        ahead.add(raw(value, offset, **fields))
    return ahead


def _taken(ahead: ReadAhead) -> list[str]:
    return [record.value.decode() for record in ahead.take()]


def test_priorities_then_tenants_by_turns_then_the_order_of_coming() -> None:
    """Each batch has one priority."""
    ahead = _holding(["ba", "na 1", "na 2", "nb 1", "ia", "nb 2"])
    batches = []
    while ahead:
        batches.append(_taken(ahead))
        ahead.finish()
    assert batches == [["ia"], ["na 1", "nb 1", "na 2", "nb 2"], ["ba"]]


def test_a_batch_is_bounded_in_records_and_bytes() -> None:
    """So that one which is more urgent need not wait for long."""
    assert len(_holding(["na"] * 100).take()) == BATCH_RECORDS
    large = "na" + "x" * BATCH_BYTES
    assert len(_holding(["na 1", large, large, "na 2"]).take()) == 2


def test_only_what_is_done_without_a_gap_is_committed() -> None:
    """Of each partition; where nothing changes, nothing is."""
    ahead = _holding(["na", "na", "ia"])
    ahead.add(raw("ia", 7, partition=1))
    assert len(ahead.take()) == 2
    assert ahead.to_commit() == {TopicPartition("jobs", 1): 8}
    ahead.finish()
    ahead.take()
    assert ahead.to_commit() == {TopicPartition("jobs", 0): 3}
    ahead.finish()
    assert not ahead
    assert ahead.take() == []
    assert ahead.to_commit() == {}


def test_what_is_given_back_comes_again_in_its_order_unless_something_is_more_urgent() -> None:
    """Even where the next one of its key has a better rank."""
    ahead = _holding(["na 1", "na 2", "ia 3"], key="k")
    assert _taken(ahead) == ["na 1", "na 2"]
    ahead.add(raw("ib", 3))
    ahead.give_back()
    assert ahead.to_commit() == {}
    batches = []
    while ahead:
        batches.append(_taken(ahead))
        ahead.finish()
    assert batches == [["ib"], ["na 1", "na 2"], ["ia 3"]]


def test_room_is_shared_by_partitions_and_holds_what_is_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is full holds up no other; what is done counts while an older one is not."""
    monkeypatch.setattr(read_ahead, "MOST_RECORDS", 8)
    first, second = TopicPartition("jobs", 0), TopicPartition("jobs", 1)
    ahead = _holding(["ba", "na", "na", "na"])
    assert ahead.with_room([first, second]) == [second]
    assert ahead.with_room([first]) == [first]
    assert len(ahead.take()) == 3
    ahead.finish()
    assert ahead.with_room([first, second]) == [second]
    ahead.take()
    ahead.finish()
    assert ahead.with_room([first, second]) == [first, second]


def test_a_partition_that_is_full_gets_on_whatever_is_more_urgent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its oldest record has the worst rank, and urgent ones never end: it has its turn, or nobody behind it would."""
    monkeypatch.setattr(read_ahead, "MOST_RECORDS", 6)
    first, second = TopicPartition("jobs", 0), TopicPartition("jobs", 1)
    ahead = _holding(["ba", "ia", "ia"])
    ahead.add(raw("ia", 0, partition=1))
    assert ahead.with_room([first, second]) == [second]
    assert _taken(ahead) == ["ba", "ia", "ia", "ia"]
    assert ahead.to_commit() == {first: 3, second: 1}
    ahead.finish()
    assert ahead.with_room([first, second]) == [first, second]


def test_of_what_is_done_only_its_place_is_kept() -> None:
    """The oldest one may wait for long: what the others said of their tenants is gone."""
    ahead = _holding(["ba", "ia", "ib"])
    ahead.take()
    ahead.finish()
    (log,) = ahead._partitions.values()  # noqa: SLF001 - nobody else asks for it
    assert [(held.raw is None, held.rank is None) for held in log.held] == [(False, False), (True, True), (True, True)]


def test_room_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what waits or is handled."""
    monkeypatch.setattr(read_ahead, "MOST_BYTES", 20)
    partition = TopicPartition("jobs", 0)
    ahead = _holding(["na" + "x" * 30])
    assert ahead.with_room([partition]) == []
    ahead.take()
    assert ahead.with_room([partition]) == []
    ahead.finish()
    assert ahead.with_room([partition]) == [partition]


def test_the_next_offset_to_read_is_known() -> None:
    """Where to go on after a poll that failed."""
    ahead = _holding(["na", "na"])
    assert ahead.position(TopicPartition("jobs", 0)) == 2
    assert ahead.position(TopicPartition("jobs", 1)) is None


_RECORD = st.tuples(
    st.sampled_from(["ia", "ib", "na", "nb", "ba"]), st.sampled_from([None, "k", "l"]), st.sampled_from([0, 1])
)
_STEP = st.one_of(_RECORD, st.just("done"), st.just("failed"))


@given(st.lists(_STEP, max_size=60))
def test_nothing_is_lost_out_of_order_or_committed_early(steps: Sequence[Any]) -> None:
    """Whatever comes, is done or fails in between: all is done once, keys in order, commits never pass what is not."""
    ahead = ReadAhead(_ranking, "")
    came: list[Any] = []
    done: list[Any] = []
    committed: dict[TopicPartition, int] = {}

    def finish() -> None:
        done.extend(ahead.take())
        for partition, offset in ahead.to_commit().items():
            assert offset > committed.get(partition, 0)
            committed[partition] = offset
        ahead.finish()

    for step in steps:
        if step == "failed":
            ahead.take()
            ahead.give_back()
        elif step == "done":
            finish()
        else:
            value, key, partition = step
            came.append(raw(value, sum(each.partition == partition for each in came), key=key, partition=partition))
            ahead.add(came[-1])
        for partition, offset in committed.items():
            behind = {each.offset for each in came if each.partition == partition.partition and each.offset < offset}
            assert behind <= {each.offset for each in done if each.partition == partition.partition}
    while ahead:
        finish()
    assert sorted(map(id, done)) == sorted(map(id, came))
    for line in {(each.partition, each.key) for each in came if each.key is not None}:
        offsets = [each.offset for each in done if (each.partition, each.key) == line]
        assert offsets == sorted(offsets)
    assert committed == {
        TopicPartition("jobs", partition): 1 + max(each.offset for each in came if each.partition == partition)
        for partition in {each.partition for each in came}
    }


def test_what_is_passed_over_is_not_held() -> None:
    """It is no record to handle, counts for no bound, and is committed with what was handled before and after it."""
    ahead = ReadAhead(_ranking, "", lambda record: record.value == b"x")
    sizes = [ahead.add(raw(value, offset)) for offset, value in enumerate(["x", "na", "x", "ia", "x"])]
    assert sizes[0] == sizes[2] == sizes[4] == 0
    assert ahead.passed() == {}, "something waits"
    assert _taken(ahead) == ["ia"]
    assert ahead.to_commit() == {}
    ahead.finish()
    assert _taken(ahead) == ["na"]
    assert ahead.to_commit() == {TopicPartition("jobs", 0): 5}
    ahead.finish()
    ahead.add(raw("x", 5))
    assert not ahead
    assert ahead.passed() == {TopicPartition("jobs", 0): 6}
    assert ahead.position(TopicPartition("jobs", 0)) == 6
