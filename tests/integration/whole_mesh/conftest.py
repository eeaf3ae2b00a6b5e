"""One whole embedded mesh, started by `mesh up`.

An idle mesh takes a fifth of a core, so it lives no longer than the tests of this folder, which one process runs in
turn (`tests/slow_first.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from eldermesh_cli.stack.processes.child import OwnedProcess
from eldermesh_cli.stack.runtime_file import Runtime, live_runtime
from tests.mesh import MESH, READY_SECONDS, RunningMesh, mesh_environment, settings_of
from tests.waiting import wait_until

_STOP_SECONDS = 200.0


@pytest.fixture(scope="package")
def running_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """One for all tests of this folder, with tenants and ids of their own; it ends with them, however these end."""
    data_dir = tmp_path_factory.mktemp("mesh")
    env = mesh_environment(data_dir)
    log_path = data_dir / "up.log"
    process = OwnedProcess([*MESH, "up"], log_path=log_path, env=env)

    async def ready() -> Runtime:
        def look() -> Runtime | None:
            assert process.poll() is None, log_path.read_text("utf-8")
            return live_runtime(data_dir)

        return await wait_until(look, description="the mesh is ready", timeout_seconds=READY_SECONDS)

    process.start()
    # A loop of its own that is never made the current one: the tests have theirs.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        try:
            runtime = runner.run(ready())
            yield RunningMesh(settings_of(runtime, data_dir), env, runtime)
        finally:
            runner.run(process.stop(_STOP_SECONDS))
    assert not process.killed, f"the mesh did not stop in order: {log_path.read_text('utf-8')}"
