"""Prompts on their own, from `claude.requests` to `claude.output`: real service, real CLI, real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.ids import job_id_from_record, request_id_from_key, trace_id_of
from shared.kafka.topics import CLAUDE_REQUESTS
from tests.inboxes import read_all
from tests.integration.claude.asking import Asking, asking
from tests.integration.claude.playing import own_seconds, process_named
from tests.integration.item_pids import all_gone

_BASH = {"allowed_tools": ["Bash"]}


@pytest.fixture
async def mesh(embedded_broker: str, redis_server: str, loopback_url: str, tmp_path: Path) -> AsyncIterator[Asking]:
    """A service with topics of its own; afterwards no directory of a run is left."""
    async with asking(embedded_broker, redis_server, loopback_url, tmp_path) as mesh:
        yield mesh
    assert mesh.left_directories() == []


async def test_a_request_to_its_end(mesh: Asking) -> None:
    """Tool call and text come as live output, numbered without gaps; then one end that says what it cost."""
    prompt = '[[tool Bash {"command": "echo hello"}]] [[reply all done]] [[usage input=100 output=20]]'
    request_id = await mesh.ask(prompt, options=_BASH, labels={"team": "x"})
    end = await mesh.end(request_id)
    assert (end.status, end.outcome, end.result, end.error_type) == ("completed", "ok", "all done", None)
    assert (end.attempt, end.labels, end.tenant, end.trace_id) == (1, {"team": "x"}, "default", trace_id_of(request_id))
    assert end.usage is not None
    assert end.usage.output_tokens > 0
    assert (end.cost_usd or 0) > 0
    output = await mesh.output(request_id)
    assert [each.sequence for each in output] == list(range(1, (end.output_records_total or 0) + 1))
    kinds = [each.kind for each in output]
    assert kinds[0] == "started"
    assert kinds.index("tool_use") < kinds.index("tool_result")
    used = next(each for each in output if each.kind == "tool_use")
    answered = next(each for each in output if each.kind == "tool_result")
    assert (used.tool_name, used.tool_use_id) == ("Bash", answered.tool_use_id)
    assert '"echo hello"' in (used.text or "")
    assert (answered.text or "").strip() == "hello"
    assert "".join(each.text or "" for each in output if each.kind == "text").endswith("all done")
    records = await mesh.said(request_id)
    assert [each.header("ce_id") for each in records] == [
        *(f"{request_id}:output:1:{each.sequence}" for each in output),
        f"{request_id}:end",
    ]
    assert {(each.header("traceparent") or "").split("-")[1] for each in records} == {end.trace_id}
    assert await mesh.facts(request_id) == ["claude.accepted", "claude.answered", "claude.ended"]


async def test_without_stream_only_the_end_comes(mesh: Asking) -> None:
    """And a large result lies in the blob store."""
    request_id = await mesh.ask("[[bytes 40000]]", stream=False)
    end = await mesh.end(request_id)
    assert (end.status, end.result, end.output_records_total) == ("completed", None, 0)
    assert end.result_url is not None
    blob = Path(end.result_url.removeprefix("file://"))
    assert len(await asyncio.to_thread(blob.read_bytes)) >= 40_000
    assert len(await mesh.said(request_id)) == 1


async def test_the_same_and_other_content_under_one_key(mesh: Asking) -> None:
    """Twice the same is one request; other content is a conflict on `jobs.dead`, and the first stays as it ended."""
    same = {"prompt": "[[reply one]]", "idempotency_key": "k"}
    await mesh.send(same, same)
    request_id = request_id_from_key("default", "k")
    end = await mesh.end(request_id)
    # Only now: records without a key lie in any partition, and the one that is accepted first is the request.
    await mesh.send(same | {"prompt": "[[reply two]]"})
    (letter,) = await mesh.dead(1)
    assert DeadLetterHeaders.decode(letter.headers).error_type == "conflict"
    assert letter.key_text() == request_id
    await mesh.end(await mesh.ask("[[reply after]]"))
    assert [end] == await mesh.ends(request_id)
    records = await read_all(mesh.settings, CLAUDE_REQUESTS)
    conflict = DeadLetterHeaders.decode(letter.headers)
    (refused,) = [each for each in records if (each.partition, each.offset) == (conflict.partition, conflict.offset)]
    assert (refused.value, conflict.topic) == (letter.value, mesh.settings.topic(CLAUDE_REQUESTS))


async def test_cancel_during_a_tool_call(mesh: Asking) -> None:
    """The end says cancelled and why; the CLI and its tool are gone."""
    seconds = own_seconds()
    prompt = f'[[tool Bash {{"command": "sleep {seconds}"}}]] [[reply never]]'
    request_id = await mesh.ask(prompt, options=_BASH)
    tool = await process_named(seconds)
    await mesh.cancel(request_id, "changed my mind")
    end = await mesh.end(request_id)
    assert (end.status, end.outcome, end.error_type, end.reason) == (
        "cancelled",
        "cancelled",
        "cancelled",
        "changed my mind",
    )
    await all_gone([tool])
    await mesh.end(await mesh.ask("[[reply after]]"))
    assert await mesh.ends(request_id) == [end]
    assert "claude.answered" not in await mesh.facts(request_id)


async def test_a_cancel_that_comes_first(mesh: Asking) -> None:
    """The request that follows it ends cancelled at once and is never run."""
    request_id = str(uuid4())
    await mesh.cancel(request_id, "early")
    await mesh.end(await mesh.ask("[[reply between]]"))
    await mesh.send({"prompt": "[[reply late]]", "request_id": request_id})
    end = await mesh.end(request_id)
    assert (end.status, end.reason, end.attempt) == ("cancelled", "early", None)
    assert await mesh.output(request_id) == []


async def test_time_is_over(mesh: Asking) -> None:
    """A run's own limit is the outcome `timeout`; the request's limit ends it as `expired`, and its CLI.

    The request's is long enough for a CLI and its tool to start on a busy machine.
    """
    slow = await mesh.ask("[[stall]]", timeout_seconds=2)
    seconds = own_seconds()
    tool_prompt = f'[[tool Bash {{"command": "sleep {seconds}"}}]] [[reply never]]'
    expiring = await mesh.ask(tool_prompt, options=_BASH, expires_after_seconds=25)
    tool = await process_named(seconds)
    ends = await asyncio.gather(mesh.end(slow), mesh.end(expiring))
    assert [(end.status, end.outcome, end.error_type) for end in ends] == [
        ("failed", "timeout", "timeout"),
        ("failed", "expired", "expired"),
    ]
    await all_gone([tool])


async def test_bad_input_is_dead_lettered(mesh: Asking) -> None:
    """Each bad record is on `jobs.dead` with its reason and coordinates, under the request's id where it has one."""
    given = str(UUID(int=77))
    bad: list[tuple[bytes, tuple[tuple[str, bytes], ...], str, str, str | None]] = [
        (b"{", (), "undecodable", "", None),
        (b"[]", (), "invalid", "not a JSON object", None),
        (b'{"prompt": " "}', (), "invalid", "an empty prompt", ""),
        (b'{"prompt": "x", "items": []}', (), "invalid", "items: unknown field", ""),
        (b'{"prompt": "x", "options": {"modle": 1}}', (), "invalid", "modle: unknown field", ""),
        (b'{"prompt": "x", "timeout_seconds": 99999}', (), "invalid", "MESH_CLAUDE_TIMEOUT_SECONDS", ""),
        (f'{{"prompt": 1, "request_id": "{given}"}}'.encode(), (), "invalid", "prompt", given),
        (b'{"prompt": "x"}', (("ce_type", b"eldermesh.job.submit.v1"),), "invalid", "unknown type", None),
        (b'{"reason": "x"}', (("ce_type", b"eldermesh.claude.cancel.v1"),), "invalid", "request_id: required", None),
        (b'{"prompt": "' + b"x" * 300_000 + b'"}', (), "too_large", "at most", ""),
    ]
    for value, headers, *_ in bad:
        await mesh.send(value, headers=headers)
    letters = {each.value: each for each in await mesh.dead(len(bad))}
    for value, headers, error_type, reason, request_id in bad:
        letter = letters[value]
        provenance = DeadLetterHeaders.decode(letter.headers)
        assert (provenance.error_type, reason in provenance.reason) == (error_type, True), provenance
        assert provenance.topic == mesh.settings.topic(CLAUDE_REQUESTS)
        derived = job_id_from_record(CLAUDE_REQUESTS, provenance.partition, provenance.offset)
        assert letter.key_text() == (derived if request_id == "" else request_id)
        assert all(header in letter.headers for header in headers)
    end = await mesh.end(await mesh.ask("[[reply still here]]"))
    assert end.result == "still here"
