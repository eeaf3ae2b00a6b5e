"""Lanes: which records of a batch have to wait for one another."""

from __future__ import annotations

from collections.abc import Iterable

from shared.consumer.record import ConsumedRecord


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
