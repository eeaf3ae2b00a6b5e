"""Results in the order of items, and progress records in the order of sequences: what waits, for what, and how much."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import pytest

from eldermesh.client.errors import ContractBrokenError, TemporaryFileError
from eldermesh.client.progress_sequence import MOST_AHEAD, ProgressSequence
from eldermesh.client.result_order import ResultOrder, in_order
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.results import ItemResult, JobProgress
from eldermesh.contract.topics import JOBS_PROGRESS
from tests.contract_records import progress, result

JOB = "0b8a3b0e-54a7-4d53-9a0c-0a3a2f6f9d10"


def _shown(order: ResultOrder, *items: int, stage: int = 0, output: object = None) -> list[int]:
    record = progress(JOB, 1, [result(item, output) for item in items], stage_index=stage)
    return [each.item_index for each in order.add(JobProgress.model_validate(record))]


def test_each_as_soon_as_it_is_in_turn() -> None:
    """What is ahead waits for those before it, and no longer."""
    with closing(sqlite3.connect("", isolation_level=None)) as ahead:
        order = ResultOrder(ahead)
        assert _shown(order, 0, 1) == [0, 1]
        assert _shown(order, 5, 3) == []
        assert _shown(order, 2) == [2, 3]
        assert _shown(order, 7) == []
        assert _shown(order, 4) == [4, 5]
        assert [each.item_index for each in order.rest()] == [7]


def test_the_first_result_of_an_item_counts() -> None:
    """A second one is dropped, whether the first has been handed out or waits."""
    with closing(sqlite3.connect("", isolation_level=None)) as ahead:
        order = ResultOrder(ahead)
        assert _shown(order, 0, 0) == [0]
        assert _shown(order, 0) == []
        _shown(order, 2, output="first")
        _shown(order, 2, output="second")
        assert [each.output for each in order.rest()] == ["first"]


def test_stage_by_stage() -> None:
    """Items of a later stage come after all of those before it, some of which may have no result."""
    with closing(sqlite3.connect("", isolation_level=None)) as ahead:
        order = ResultOrder(ahead)
        assert _shown(order, 0, stage=0) == [0]
        assert _shown(order, 1, 0, stage=1) == []
        assert _shown(order, 2, stage=0) == []
        assert [each.item_index for each in order.rest()] == [2, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_any_order(seed: int) -> None:
    """However they come, whatever is missing: ascending, each once, as they were."""
    outputs = {item: {"text": "€" * item, "number": item / 3, "none": None, "whole": 2.0} for item in range(300)}
    there = [item for item in outputs if item % 97]
    random.Random(seed).shuffle(there)
    found: list[ItemResult] = []
    with closing(sqlite3.connect("", isolation_level=None)) as ahead:
        order = ResultOrder(ahead)
        for item in there:
            record = progress(JOB, 1, [result(item, outputs[item])])
            found += order.add(JobProgress.model_validate(record))
        found += order.rest()
    assert [(each.item_index, each.output) for each in found] == [(item, outputs[item]) for item in sorted(there)]


async def test_no_room_for_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the client, which says what to do about it."""
    monkeypatch.setattr("eldermesh.client.result_order._TEMPORARY_FILE", str(tmp_path / "gone" / "file"))
    with pytest.raises(TemporaryFileError, match="cannot be kept in a file"):
        _ = [each async for each in in_order(_nothing())]


async def _nothing() -> AsyncGenerator[JobProgress, None]:
    for record in list[JobProgress]():
        yield record


def _record(sequence: int) -> PublicRecord:
    value = json.dumps(progress(JOB, sequence, [result(sequence)])).encode()
    return PublicRecord(JOBS_PROGRESS, 0, sequence, JOB.encode(), (), value)


def test_a_record_that_is_gone() -> None:
    """So many that come later are not kept for it: they would be the whole job."""
    sequence = ProgressSequence()
    for number in range(2, MOST_AHEAD + 2):
        assert sequence.add(_record(number)) == []
    with pytest.raises(ContractBrokenError, match="no progress record 1,"):
        sequence.add(_record(MOST_AHEAD + 2))
