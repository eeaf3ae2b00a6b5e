"""The example that moves Celery tasks to the mesh, as its users run it: beside a worker of theirs, stage by stage."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from eldermesh_cli.stack.processes.child import OwnedProcess
from examples.migration import is_canary
from tests.mesh import RunningMesh

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "migration.py"
TEXTS = [f"{'word ' * count}\n" for count in (3, 1, 4, 15, 9, 2)]
PERCENT = 50
_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Users:
    """A directory with a copy of the example and files to count, and the environment of who works there."""

    directory: Path
    env: dict[str, str]
    paths: list[str]
    counts: dict[str, int]

    async def count(self, run: str, stage: str, **env: str) -> tuple[dict[str, Any], str]:
        """Run the example; return the counts by path, and what it said beside them."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "migration.py", run, *self.paths),
            cwd=self.directory,
            env=self.env | {"MIGRATION_STAGE": stage, "MIGRATION_PERCENT": str(PERCENT)} | env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_SECONDS):
            counted, said = await process.communicate()
        assert process.returncode == 0, said.decode()
        return json.loads(counted), said.decode()


@pytest.fixture
async def users(running_mesh: RunningMesh, tmp_path: Path) -> AsyncIterator[Users]:
    """Their directory, with a Celery worker of their own that runs there."""
    (tmp_path / "migration.py").write_bytes(EXAMPLE.read_bytes())
    paths = [tmp_path / f"{number}.txt" for number in range(len(TEXTS))]
    for path, text in zip(paths, TEXTS, strict=True):
        path.write_text(text, "utf-8")
    env = running_mesh.env | {
        "MESH_KAFKA_BOOTSTRAP": running_mesh.settings.kafka_bootstrap,
        "MIGRATION_REDIS_URL": running_mesh.runtime.redis_url.removesuffix("/0") + "/1",
        "MIGRATION_FUNCTION": "examples.migration:count_words",
    }
    worker = OwnedProcess(
        [sys.executable, "-m", "celery", "-A", "migration", "worker", "--pool", "solo", "--without-mingle"],
        log_path=tmp_path / "worker.log",
        env=env,
        cwd=tmp_path,
    )
    worker.start()
    try:
        names = [str(path) for path in paths]
        counts = {name: len(text.split()) for name, text in zip(names, TEXTS, strict=True)}
        yield Users(tmp_path, env, names, counts)
    finally:
        await worker.stop(60.0)


async def test_each_stage_counts_the_same(running_mesh: RunningMesh, users: Users) -> None:
    """By the old tasks, by the mesh, or by both; and the mesh runs what the stage gives it, nothing else."""
    run = f"run-{uuid4()}"
    items = {}
    for stage in ("celery", "shadow", "canary", "mesh"):
        counts, said = await users.count(run, stage)
        assert counts == users.counts, stage
        if stage == "shadow":
            assert json.loads(said) == {"shadow": "compared", "items": len(TEXTS), "differ": {}}
        listed = running_mesh.run("list", "--label", f"migration={stage}", "--json")  # no other test has such jobs
        items[stage] = [job["items_total"] for job in json.loads(listed.stdout)["jobs"] if job["state"] == "completed"]
    canaries = [path for path in users.paths if is_canary(path, PERCENT)]
    assert items == {"celery": [], "shadow": [6], "canary": [len(canaries)] if canaries else [], "mesh": [6]}


async def test_a_shadow_that_fails_costs_nothing(users: Users) -> None:
    """A function that the mesh does not allow: the run has its results, and says why there is no shadow."""
    counts, said = await users.count(f"run-{uuid4()}", "shadow", MIGRATION_FUNCTION="os:remove")
    assert counts == users.counts
    told = json.loads(said)
    assert told["shadow"] == "failed"
    assert "os:remove" in told["reason"]
