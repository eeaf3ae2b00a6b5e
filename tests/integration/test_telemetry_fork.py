"""Telemetry across a fork: parent and child each export what is theirs."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import httpx
import pytest

from eldermesh_cli.follow.trace_source import fetch_trace
from eldermesh_cli.stack.telemetry.receiver import otlp_receiver
from tests.trace_edges import edges_of


async def _run(endpoint: str, mode: str) -> dict[str, str]:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.telemetry_fork_program", endpoint, mode),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            out, errors = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert program.returncode == 0, errors.decode()
    described: dict[str, str] = json.loads(out)
    return described


@pytest.mark.parametrize("mode", ["multiprocessing", "worker"])
async def test_spans_and_counts_of_parent_and_child_arrive(tmp_path: Path, mode: str) -> None:
    """A real fork from a process with a live connection: one trace with each span once, and counts kept apart.

    The child's counts begin at zero though the parent had counted 5, and its instance is another than the parent's.
    """
    async with otlp_receiver(tmp_path / "spans.sqlite") as url:
        ran = await _run(url, mode)
        spans = await fetch_trace(url, ran["trace_id"])
        assert sorted(span.name for span in spans) == ["dispatch chunk", "process chunk", "process item", "queue wait"]
        assert edges_of(spans) == {
            ("dispatch chunk", "queue wait"),
            ("dispatch chunk", "process chunk"),
            ("process chunk", "process item"),
        }
        async with httpx.AsyncClient() as client:
            exported = (await client.get(f"{url}/metrics")).text
    counts = re.findall(
        r'^eldermesh_items_ended_total\{job="(\w+)",instance="([^"]+)"\} ([\d.]+)$', exported, re.MULTILINE
    )
    assert sorted(float(value) for _, _, value in counts) == [1.0, 5.0]
    assert len({instance for _, instance, _ in counts}) == 2
    assert re.search(r'^process_memory_usage_bytes\{job="forking"', exported, re.MULTILINE)


async def test_a_fork_amid_a_hanging_export_holds_nobody_up() -> None:
    """The collector takes connections and never answers; the parent is forked while its exporters hang.

    The child records 2,000 spans and shuts down within its limits, and so does the parent.
    """
    connections = 0

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while await reader.read(65_536):
                pass
        finally:
            writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await _run(f"http://127.0.0.1:{port}", "exporting")
    assert connections >= 2
