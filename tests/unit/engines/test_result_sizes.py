"""What a result is counted as covers what stands of it in the fact, and in the public record made of that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eldermesh.contract.canonical import canonical_bytes
from services.router.engines.chunks.item_results import ItemResults
from services.router.engines.chunks.result_publisher import RESULT_OVERHEAD_BYTES
from services.router.engines.chunks.runner_parts import ChunkRunnerParts
from services.router.engines.chunks.spec_cache import JobSpec
from services.router.engines.chunks.task import ChunkTask
from shared.settings import Settings
from shared.workloads import ItemFailed, ItemOutcome, ItemSucceeded

NOTHING: Any = None
PARTS = ChunkRunnerParts(
    settings=Settings(_env_file=None),
    engine="celery",
    worker_id="w",
    claims=NOTHING,
    facts=NOTHING,
    workloads=NOTHING,
    blobs=NOTHING,
)
TASK = ChunkTask(
    topic="jobs.history",
    partition=0,
    chunk="00000000-0000-4000-8000-000000000000/0/1/0-9",
    dispatched_at=0,
    attempt=1,
    traceparent="",
)


def _output(value: object) -> ItemSucceeded:
    return ItemSucceeded(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


OUTCOMES: dict[str, ItemOutcome] = {
    "a number": _output(4.0),
    "numbers that are long without an exponent": _output([1e20] * 4_000),
    "small numbers": _output([1.5e-6, 1e-7, 5e-324] * 1_000),
    "text": _output("漢" * 10_000),
    "text like a number": _output("1e20 \x01\x02" * 1_000),
    "an error of wide characters": ItemFailed("exception", "漢" * 2_000),
    "an error of control characters": ItemFailed("exception", "\x01" * 2_000),
    "no message": ItemFailed("exception", ""),
}


@pytest.mark.parametrize("name", OUTCOMES)
async def test_no_record_is_longer_than_it_is_counted(name: str) -> None:
    """Otherwise a record may be larger than a topic takes, and its job, or its whole partition, stands still."""
    results = ItemResults(PARTS, TASK, JobSpec(workload="python", tenant="t"))
    timed = await results.of(OUTCOMES[name], 2**31, seconds=1e6, ended_at=2**41)
    counted = timed.payload_bytes + RESULT_OVERHEAD_BYTES
    assert len(timed.result.model_dump_json().encode()) <= counted
    assert len(canonical_bytes(timed.result.model_dump(mode="json"))) <= counted
    assert counted <= 10 * 32 * 1024
