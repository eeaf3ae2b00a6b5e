"""What becomes of prompts on their own when the service that runs them is killed, or stopped in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eldermesh.contract.claude_output import ClaudeOutput
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from tests.integration.claude.asking import Asking, asking
from tests.integration.claude.playing import own_seconds, process_named, processes_named
from tests.integration.item_pids import all_gone
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

_BASH = {"allowed_tools": ["Bash"]}


@pytest.fixture
async def mesh(embedded_broker: str, redis_server: str, loopback_url: str, tmp_path: Path) -> AsyncIterator[Asking]:
    """A service with topics of its own; afterwards no directory of a run is left."""
    async with asking(embedded_broker, redis_server, loopback_url, tmp_path) as mesh:
        yield mesh
    assert mesh.left_directories() == []


async def _kill(mesh: Asking) -> None:
    pid = mesh.service.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await mesh.service.wait()


def _once_slow(marker: Path, seconds: str) -> str:
    """A tool call that takes long the first time only."""
    script = f"if [ ! -e {marker} ]; then touch {marker}; sleep {seconds}; fi; echo fine"
    return f'[[tool Bash {{"command": "{script}"}}]] [[reply finished]]'


async def _tool_used(mesh: Asking, request_id: str, attempt: int) -> list[ClaudeOutput]:
    async def look() -> list[ClaudeOutput]:
        output = await mesh.output(request_id)
        return output if any(each.kind == "tool_use" and each.attempt == attempt for each in output) else []

    return await wait_until(look, description="the tool call is streamed", timeout_seconds=120)


async def test_killed_during_a_run(mesh: Asking, tmp_path: Path) -> None:
    """Kill -9 of the service: CLI and tool die with it; its successor runs the prompt again, once, to one end."""
    seconds = own_seconds()
    request_id = await mesh.ask(_once_slow(tmp_path / "marker", seconds), options=_BASH)
    tool = await process_named(seconds)
    first = await _tool_used(mesh, request_id, 1)
    await _kill(mesh)
    await all_gone([tool])
    await mesh.service.bring_up()
    end = await mesh.end(request_id)
    assert (end.status, end.result, end.attempt) == ("completed", "finished", 2)
    output = await mesh.output(request_id)
    assert [each for each in output if each.attempt == 1] == first
    again = [each.sequence for each in output if each.attempt == 2]
    assert again == list(range(1, (end.output_records_total or 0) + 1))
    await mesh.end(await mesh.ask("[[reply after]]"))
    assert await mesh.ends(request_id) == [end]
    assert await mesh.facts(request_id) == [
        "claude.accepted",
        "claude.replanned",
        "claude.answered",
        "claude.ended",
    ]
    assert processes_named(seconds) == []


async def test_killed_before_its_owner_knew(mesh: Asking) -> None:
    """Requests that came while no service ran are run by the next one."""
    await _kill(mesh)
    ids = [await mesh.ask(f"[[reply number {number}]]") for number in range(3)]
    await mesh.service.bring_up()
    ends = [await mesh.end(each) for each in ids]
    assert [end.result for end in ends] == ["number 0", "number 1", "number 2"]


async def test_a_prompt_that_kills_its_runners(mesh: Asking) -> None:
    """Three deaths in a row: failed as crashed, one end, and nothing of it runs."""
    seconds = own_seconds()
    prompt = f'[[tool Bash {{"command": "sleep {seconds}"}}]] [[reply never]]'
    request_id = await mesh.ask(prompt, options=_BASH)
    killed: list[ProcessIdentity] = []
    for attempt in range(1, 4):
        await _tool_used(mesh, request_id, attempt)
        killed.append(await process_named(seconds))
        await _kill(mesh)
        await all_gone(killed)
        await mesh.service.bring_up()
    end = await mesh.end(request_id)
    assert (end.status, end.outcome, end.error_type, end.attempt) == ("failed", "crashed", "crashed", 3)
    assert end.reason == "the runner died 3 times on this prompt"
    assert end.output_records_total is None
    facts = await mesh.facts(request_id)
    assert facts[:4] == ["claude.accepted", "claude.replanned", "claude.replanned", "claude.answered"]
    await mesh.end(await mesh.ask("[[reply after]]"))
    assert await mesh.ends(request_id) == [end]
    assert processes_named(seconds) == []


async def test_stopped_in_order(mesh: Asking, tmp_path: Path) -> None:
    """SIGTERM is no death: the run is interrupted, and another service runs it at once, without a lease's wait."""
    seconds = own_seconds()
    request_id = await mesh.ask(_once_slow(tmp_path / "marker", seconds), options=_BASH)
    tool = await process_named(seconds)
    other = mesh.another()
    bringing = asyncio.create_task(other.bring_up())
    try:
        assert not await mesh.service.shut_down()
        await all_gone([tool])
        await bringing
        end = await mesh.end(request_id)
    finally:
        await asyncio.wait([bringing])
        await other.shut_down()
    assert (end.status, end.result, end.attempt) == ("completed", "finished", 2)
    assert "claude.interrupted" in await mesh.facts(request_id)
    assert "claude.replanned" not in await mesh.facts(request_id)


async def test_two_services_share_the_work(mesh: Asking) -> None:
    """Many prompts on two services, of which one is killed amidst them: each has one end."""
    other = mesh.another()
    await other.bring_up()
    try:
        ids = [await mesh.ask(f"[[delay 1]] [[reply {number}]]") for number in range(10)]
        await mesh.end(ids[0])
        await _kill(mesh)
        ends = [await mesh.end(each) for each in ids]
    finally:
        await other.shut_down()
    await mesh.service.bring_up()  # the next one on a machine removes what the killed one's runs left
    assert [end.result for end in ends] == [str(number) for number in range(10)]
    for each in ids:
        assert len({record.value for record in await mesh.said(each) if record.header("ce_id") == f"{each}:end"}) == 1
