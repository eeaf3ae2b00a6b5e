"""`mesh ask`: accepted, waited for, streamed, followed again, cancelled, refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.claude.asking import Asking, asking
from tests.unit.cli.command_line import Ran, run_here

_TOOL = '[[tool Bash {"command": "echo one"}]] [[reply all done]]'


class Shell:
    """Runs `mesh ask …` on a mesh."""

    def __init__(self, mesh: Asking) -> None:
        self._env = mesh.settings.environment()

    async def ask(self, *arguments: str, stdin: str | None = None) -> Ran:
        """Run it to its end."""
        return await asyncio.to_thread(run_here, ("ask", *arguments), self._env, stdin)


@pytest.fixture
async def mesh(embedded_broker: str, redis_server: str, loopback_url: str, tmp_path: Path) -> AsyncIterator[Asking]:
    """A service with topics of its own."""
    async with asking(embedded_broker, redis_server, loopback_url, tmp_path) as mesh:
        yield mesh


async def test_ask(mesh: Asking) -> None:
    """One after another on one mesh."""
    shell = Shell(mesh)

    taken = await shell.ask("[[reply one]]", "--json", "--label", "a=b")
    assert taken.status == 0, taken.stderr
    answer = json.loads(taken.stdout)
    assert answer["state"] == "accepted"
    end = await mesh.end(answer["request_id"])
    assert (end.result, end.labels, end.trace_id) == ("one", {"a": "b"}, answer["trace_id"])

    waited = await shell.ask("-", "--wait", stdin="[[reply two]]")
    assert (waited.status, waited.stdout) == (0, "two\n"), waited.stderr
    assert "completed" in waited.stderr

    streamed = await shell.ask(_TOOL, "--tool", "Bash", "--stream", "--json")
    assert (streamed.status, streamed.stderr) == (0, "")
    lines = [json.loads(line) for line in streamed.stdout.splitlines()]
    assert [line["kind"] for line in lines] == ["output"] * (len(lines) - 1) + ["end"]
    assert lines[-1]["record"]["result"] == "all done"
    known = lines[-1]["record"]["request_id"]

    again = await shell.ask("--follow", known, "--from-sequence", "3", "--json")
    assert [json.loads(line) for line in again.stdout.splitlines()] == lines[2:]
    shown = await shell.ask("--follow", known)
    assert shown.stdout.endswith("all done\n")
    assert "[tool_use Bash]" in shown.stderr

    stalled = json.loads((await shell.ask("[[stall]]", "--json")).stdout)["request_id"]
    cancelled = await shell.ask("--cancel", stalled, "--reason", "enough", "--json")
    assert cancelled.status == 0, cancelled.stderr
    assert json.loads(cancelled.stdout)["status"] == "cancelled"
    assert (await shell.ask("--follow", stalled, "--wait", "--json")).status == 1

    refused = await shell.ask("x", "--option", "modle=y", "--json")
    assert refused.status == 1
    assert json.loads(refused.stderr)["error"]["error_type"] == "invalid"
    assert (await shell.ask("[[reply k]]", "--idempotency-key", "k", "--wait")).status == 0
    conflict = await shell.ask("[[reply other]]", "--idempotency-key", "k", "--wait", "--json")
    assert conflict.status == 4
    assert json.loads(conflict.stderr)["error"]["error_type"] == "conflict"
