"""A whole embedded mesh, as a process of its own: the `mesh` command, its environment, and a mesh that runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from eldermesh_cli.stack.processes.child import OwnedProcess
from eldermesh_cli.stack.runtime_file import Runtime, live_runtime
from shared.settings import Settings
from tests.thorough import CHILDREN_MEASURED
from tests.waiting import wait_until

MESH = (sys.executable, "-m", "eldermesh_cli.main")
"""The `mesh` command, before its verb."""

READY_SECONDS = 300.0
FUNCTIONS = "math:*,time:sleep,eldermesh_cli.demo.work:*,examples.migration:*"
_COMMAND_SECONDS = 300.0
_STOP_SECONDS = 200.0


def mesh_environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """This process' environment, with these settings and no others; `data_dir` says which mesh is meant."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MESH_", "OTEL_"))}
    given = {f"MESH_{name.upper()}": value for name, value in settings.items()}
    return inherited | {"MESH_DATA_DIR": str(data_dir), "MESH_PYTHON_FUNCTIONS": FUNCTIONS} | given


@dataclass(frozen=True, slots=True)
class RunningMesh:
    """A mesh that is ready: how clients reach it, as settings and as an environment for the `mesh` command."""

    settings: Settings
    env: dict[str, str]
    runtime: Runtime

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `mesh …` on it and return what came of that."""
        return subprocess.run(
            [*MESH, *arguments],
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )


def settings_of(runtime: Runtime, data_dir: Path) -> Settings:
    """How its parts and its clients reach the mesh."""
    return Settings(
        kafka_bootstrap=runtime.kafka_bootstrap,
        redis_url=SecretStr(runtime.redis_url),
        topic_prefix=runtime.topic_prefix,
        broker_profile=runtime.broker_profile,
        partitions=runtime.partitions,
        data_dir=data_dir,
        otlp_endpoint=runtime.otlp_endpoint,
        trace_query_url=runtime.trace_query_url,
    )


@contextmanager
def mesh_up(data_dir: Path, env: dict[str, str]) -> Iterator[RunningMesh]:
    """A mesh that `mesh up` starts with this environment; on leaving it is stopped, and has to stop in order."""
    log_path = data_dir / "up.log"
    # Each of its seventeen processes would cost half as much CPU again, and other tests measure each of them.
    unmeasured = {name: value for name, value in env.items() if name != CHILDREN_MEASURED}
    process = OwnedProcess([*MESH, "up"], log_path=log_path, env=unmeasured)

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
