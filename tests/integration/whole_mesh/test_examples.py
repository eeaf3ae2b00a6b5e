"""The examples of FastStream applications, as users run them: a copy of each file, started by `faststream run`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from eldermesh.contract.ids import job_id_from_key
from eldermesh_cli.stack.processes.child import OwnedProcess
from tests.mesh import RunningMesh
from tests.waiting import wait_until

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FASTSTREAM = (sys.executable, "-m", "faststream")
_STOP_SECONDS = 60.0


def _environment(mesh: RunningMesh) -> dict[str, str]:
    return mesh.env | {"MESH_KAFKA_BOOTSTRAP": mesh.settings.kafka_bootstrap}


async def _faststream(mesh: RunningMesh, directory: Path, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *FASTSTREAM,
        *arguments,
        env=_environment(mesh),
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(_STOP_SECONDS):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


@asynccontextmanager
async def example(name: str, mesh: RunningMesh, directory: Path) -> AsyncIterator[Path]:
    """Run a copy of an example; yields its log once it has started. Told to stop, it ends with 0."""
    (directory / f"{name}.py").write_bytes((EXAMPLES / f"{name}.py").read_bytes())
    log = directory / f"{name}.log"
    process = OwnedProcess(
        [*FASTSTREAM, "run", f"{name}:app"],
        log_path=log,
        env=_environment(mesh),
        cwd=directory,
    )

    def started() -> bool:
        assert process.poll() is None, log.read_text("utf-8")
        return "started successfully" in log.read_text("utf-8")

    process.start()
    try:
        await wait_until(started, description=f"{name} has started", timeout_seconds=120)
        yield log
    finally:
        await process.stop(_STOP_SECONDS)
    assert process.poll() == 0, log.read_text("utf-8")


async def test_an_upload_becomes_a_job_whose_end_is_told(running_mesh: RunningMesh, tmp_path: Path) -> None:
    """One example publishes a job of it, the mesh runs that, the other example says how it ended."""
    upload = f"upload-{uuid4()}"
    job_id = job_id_from_key("default", upload)
    async with (
        example("react_to_done", running_mesh, tmp_path) as told,
        example("publish_jobs", running_mesh, tmp_path),
    ):
        value = json.dumps({"upload_id": upload, "numbers": [16, 25]})
        await _faststream(running_mesh, tmp_path, "publish", "publish_jobs:app", value, "--topic", "uploads")
        said = await wait_until(
            lambda: re.search(rf"job {job_id} .*", told.read_text("utf-8")),
            description="the end is told",
            timeout_seconds=180,
        )
    assert said.group() == f"job {job_id} completed: 2 of 2 items succeeded"
