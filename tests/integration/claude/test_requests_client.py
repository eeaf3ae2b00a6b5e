"""The Python client sends prompts on their own and follows them: live, again from a place, to the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import pytest

from eldermesh.client import Client, InvalidJobError, RequestDeadError, WaitTimeoutError
from eldermesh.contract.claude_output import ClaudeEnd, ClaudeOutput
from eldermesh.contract.ids import request_id_from_key
from tests.integration.claude.asking import Asking, asking

_TOOL = '[[tool Bash {"command": "echo one"}]] [[tool Bash {"command": "echo two"}]] [[reply done]]'
_BASH = {"allowed_tools": ["Bash"]}


@pytest.fixture
async def mesh(embedded_broker: str, redis_server: str, loopback_url: str, tmp_path: Path) -> AsyncIterator[Asking]:
    """A service with topics of its own."""
    async with asking(embedded_broker, redis_server, loopback_url, tmp_path) as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: Asking) -> AsyncIterator[Client]:
    """A client of it."""
    async with Client(mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix) as client:
        yield client


async def _all(
    client: Client, request_id: str, from_sequence: int = 1, *, attempt: int = 1
) -> tuple[list[ClaudeOutput], ClaudeEnd]:
    records = [
        record async for record in client.output(request_id, from_sequence, attempt=attempt, timeout_seconds=180)
    ]
    end = records.pop()
    assert isinstance(end, ClaudeEnd)
    return [record for record in records if isinstance(record, ClaudeOutput)], end


async def test_the_stream_goes_on_where_it_broke_off(mesh: Asking, client: Client) -> None:
    """A reader that leaves in the middle, and another client that goes on behind its last record, miss nothing."""
    sent = await client.prompt(_TOOL, options=_BASH)
    seen: list[ClaudeOutput] = []
    async with aclosing(client.output(sent.request_id, timeout_seconds=180)) as records:
        async for record in records:
            assert isinstance(record, ClaudeOutput)
            seen.append(record)
            if record.kind == "tool_use":
                break
    async with Client(mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix) as another:
        rest, end = await _all(another, sent.request_id, seen[-1].sequence + 1, attempt=seen[-1].attempt)
        whole, _ = await _all(another, sent.request_id)
    assert end.result == "done"
    assert [*seen, *rest] == whole
    assert [each.sequence for each in whole] == list(range(1, (end.output_records_total or 0) + 1))
    assert await client.answer(sent.request_id) == end
    assert end.trace_id == sent.trace_id


async def test_a_repeat_and_a_conflict(client: Client) -> None:
    """The same prompt under a key is the same request; another one is refused, though the first has ended."""
    first = await client.prompt("[[reply once]]", idempotency_key="one")
    assert first.request_id == request_id_from_key("default", "one")
    end = await client.answer(first.request_id, 60)
    again = await client.prompt("[[reply once]]", idempotency_key="one")
    assert await client.answer(again.request_id, 60) == end
    other = await client.prompt("[[reply twice]]", idempotency_key="one")
    with pytest.raises(RequestDeadError, match="other content") as refused:
        await client.answer(other.request_id, 60)
    assert refused.value.error_type == "conflict"


async def test_refused_cancelled_unknown(mesh: Asking, client: Client) -> None:
    """What is invalid here is not sent, what is invalid there raises; a cancel ends; the unknown is waited for."""
    with pytest.raises(InvalidJobError, match="empty prompt"):
        await client.prompt("  ")
    sent = await client.prompt("x", options={"modle": "y"})
    with pytest.raises(RequestDeadError, match="unknown field"):
        await client.answer(sent.request_id, 60)
    async with Client(mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix) as another:
        with pytest.raises(RequestDeadError, match="unknown field"):
            await another.answer(sent.request_id, 60)
    slow = await client.prompt("[[stall]]")
    await client.cancel_prompt(slow.request_id, "enough")
    end = await client.answer(slow.request_id, 60)
    assert (end.status, end.reason) == ("cancelled", "enough")
    with pytest.raises(WaitTimeoutError):
        await client.answer(str(uuid4()), 0.5)
