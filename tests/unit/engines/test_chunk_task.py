"""The message of a chunk."""

from __future__ import annotations

from typing import Any

import pytest

from services.router.engines.chunks.task import ChunkTask
from shared.errors import DeadLetterError

MESSAGE: dict[str, Any] = {
    "topic": "jobs.history",
    "partition": 3,
    "chunk": "4f970e3e-d1a3-5d45-8587-591465c16100/0/2/10-19",
    "dispatched_at": 1795000000123,
    "attempt": 1,
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": None,
}


def test_a_message_is_read_back() -> None:
    """Whole, and with fields of a later release."""
    task = ChunkTask.from_message(MESSAGE | {"later": True})
    assert task.message() == MESSAGE
    assert (task.chunk_id.epoch, task.chunk_id.first, task.chunk_id.last) == (2, 10, 19)


@pytest.mark.parametrize(
    "change", [{"chunk": "nonsense"}, {"chunk": "a/b/c/d-e"}, {"partition": -1}, {"attempt": 0}, {"topic": None}]
)
def test_what_is_no_task_is_refused(change: dict[str, Any]) -> None:
    """As invalid; there is nothing to retry."""
    with pytest.raises(DeadLetterError, match="no chunk task"):
        ChunkTask.from_message(MESSAGE | change)
