"""Which items of a chunk that runs in slices have a span: the first, a sample, and what failed or was slow; bounded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import StatusCode

from services.router.engines.chunks.item_spans import ItemSpans
from services.router.engines.chunks.result_publisher import TimedResult
from services.router.engines.chunks.spec_cache import JobSpec
from shared.facts.jobs import FactResult
from shared.telemetry import names
from tests.recorded_spans import recorded_spans
from tests.unit.engines.played_chunk import TASK

JOB = "4f970e3e-d1a3-5d45-8587-591465c16100"


def ended(index: int, *, seconds: float = 0.0, failed: bool = False) -> TimedResult:
    """An item that has just ended."""
    measures: dict[str, Any] = {"item_index": index, "attempt": 1, "duration_ms": round(seconds * 1000)}
    result = (
        FactResult(**measures, status="failed", error_type="exception", error_message="a secret")
        if failed
        else FactResult(**measures, status="succeeded", output=1)
    )
    return TimedResult(result, 1_790_000_000_000, 1_790_000_000_000 + round(seconds * 1000), 1)


def spans_of(items: int, first: int, last: int, most: int, ends: Iterable[TimedResult]) -> list[tuple[int, bool]]:
    """The items that have a span, and whether it failed."""
    task = TASK.model_copy(update={"chunk": f"{JOB}/0/1/{first}-{last}"})
    with recorded_spans() as exporter:
        spans = ItemSpans(task, JobSpec(workload="python", items=(0,) * items, tenant="t"), most)
        for timed in ends:
            spans.ended(timed, Context())
        recorded = exporter.get_finished_spans()
    told = []
    for span in recorded:
        attributes = dict(span.attributes or {})
        assert attributes[names.JOB_ID] == JOB
        assert "secret" not in f"{attributes} {span.status.description}"
        index = attributes[names.ITEM_INDEX]
        assert isinstance(index, int)
        told.append((index, span.status.status_code is StatusCode.ERROR))
    return told


def test_few_items_have_one_each() -> None:
    """Up to the bound."""
    assert spans_of(4, 0, 3, 4, map(ended, range(4))) == [(0, False), (1, False), (2, False), (3, False)]


def test_of_many_every_so_many_th_has_one() -> None:
    """And the first of a chunk, wherever that begins."""
    assert spans_of(1000, 105, 204, 10, map(ended, range(105, 205))) == [(105, False), (200, False)]


def test_of_ten_thousand_no_more_than_the_bound() -> None:
    """Even if all fail: the sample, and as many again."""
    spans = spans_of(10_000, 0, 9_999, 400, (ended(index, failed=True) for index in range(10_000)))
    assert len(spans) == 800
    assert all(failed for _, failed in spans)


@pytest.mark.parametrize(("seconds", "has_one"), [(0.999, False), (1.0, True)])
def test_a_slow_item_has_one(seconds: float, has_one: bool) -> None:  # noqa: FBT001 - a parameter
    """From a second on."""
    assert spans_of(1000, 0, 99, 10, [ended(7, seconds=seconds)]) == ([(7, False)] if has_one else [])
