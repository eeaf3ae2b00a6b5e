"""Which records wait for one another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.consumer.batch import sort_into_lanes
from tests.unit.consumer.records import consumed


def test_one_lane_for_each_key_of_a_partition_and_one_for_each_record_without_a_key() -> None:
    """An empty key is a key; the same key in another partition is another lane."""
    records = [
        consumed(offset=0, key=b"a"),
        consumed(offset=1, key=None),
        consumed(offset=2, key=b""),
        consumed(offset=3, key=b"a"),
        consumed(offset=4, key=None),
        consumed(offset=5, key=b"a", partition=1),
        consumed(offset=6, key=b""),
    ]
    lanes = [[record.offset for record in lane] for lane in sort_into_lanes(records)]
    assert lanes == [[0, 3], [1], [2, 6], [4], [5]]


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, b"", b"a", b"b"]))))
def test_nothing_is_lost_doubled_or_put_out_of_order(places: list[tuple[int, bytes | None]]) -> None:
    """Each record is in one lane; within a lane offsets rise."""
    records = [consumed(offset=offset, partition=number, key=key) for offset, (number, key) in enumerate(places)]
    lanes = sort_into_lanes(records)
    assert sorted(record.offset for lane in lanes for record in lane) == list(range(len(records)))
    assert all([each.offset for each in lane] == sorted(each.offset for each in lane) for lane in lanes)
    assert all(len({(each.partition, each.key) for each in lane}) == 1 for lane in lanes)
