"""What the verbs hold in memory of a job with as many items as a job may have: never all of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from eldermesh.contract.vocabulary import MAX_ITEMS
from shared.facts.jobs import FactResult
from tests.fresh_topics import AnyBroker
from tests.integration.seeded_mesh import SeededMesh, seeded_mesh
from tests.unit.cli.command_line import Ran
from tests.unit.cli.job_facts import completed, routed

CHUNK_ITEMS = 500
OUTPUT = "x" * 900
OUTPUTS_MIB = MAX_ITEMS * len(OUTPUT) / 2**20

_COMMAND_SECONDS = 200.0
_MEASURED = """
import sys
from eldermesh_cli.program.command_line import run
status = run(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(peak.split()[1], file=sys.stderr)
sys.exit(status)
"""
"""A `mesh` that says at last how much memory it had at most, in KiB. Unlike `ru_maxrss` that is not inherited."""


@pytest.fixture
async def mesh(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[SeededMesh]:
    """Topics and Redis keys of this test alone."""
    async with seeded_mesh(AnyBroker(embedded_broker, "embedded"), redis_server, data_dir=tmp_path) as seeded:
        yield seeded


async def _peak_mib(mesh: SeededMesh, *arguments: str) -> tuple[Ran, float]:
    """Run a verb as a process of its own; how it ended, and the most memory it had."""
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _MEASURED, *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
        | mesh.settings.environment(),
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    *stderr, peak = ran.stderr.splitlines()
    return Ran(ran.returncode, ran.stdout, "\n".join(stderr)), int(peak) / 1024


@pytest.mark.slow
async def test_memory_of_verbs(mesh: SeededMesh) -> None:
    """`results`, `why` and `status` read 86 MiB of outputs, whose chunks came in an awkward order, within 60 MiB."""
    job_id = str(uuid4())
    await mesh.accept(job_id, {"workload": "python", "options": {"function": "math:sqrt"}, "items": [1] * MAX_ITEMS})
    await mesh.append(job_id, (20, routed(chunk_items=CHUNK_ITEMS)))
    firsts = range(0, MAX_ITEMS, CHUNK_ITEMS)
    half = len(firsts) // 2
    for first in (*firsts[half:], *firsts[:half]):
        fact = completed(job_id, first, first + CHUNK_ITEMS - 1)
        results = tuple(
            FactResult(item_index=each.item_index, status="succeeded", output=OUTPUT) for each in fact.results
        )
        await mesh.append(job_id, (30, fact.model_copy(update={"results": results})))
    await mesh.settle()
    _, least = await _peak_mib(mesh, "list", "--json")

    ran, results_mib = await _peak_mib(mesh, "results", job_id, "--json")
    lines = ran.stdout.splitlines()
    explained, why_mib = await _peak_mib(mesh, "why", job_id, "--json")
    asked, status_mib = await _peak_mib(mesh, "status", job_id, "--json")

    assert (ran.status, len(lines)) == (0, MAX_ITEMS)
    assert all(json.loads(line)["item_index"] == number for number, line in enumerate(lines))
    assert (explained.status, asked.status) == (0, 0)
    assert max(results_mib, why_mib, status_mib) < least + 60 < least + OUTPUTS_MIB
