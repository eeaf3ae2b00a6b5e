"""`mesh up` without `--detach`: the mesh runs as long as this command does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from eldermesh.counted import counted
from eldermesh_cli.answers.stack import DownAnswer, ProcessAnswer
from eldermesh_cli.operate.mesh.losses import lost_with
from eldermesh_cli.operate.mesh.start_progress import IN_MEMORY, StartDisplay, show_ready
from eldermesh_cli.stack.data_dir import DataDirLock
from eldermesh_cli.stack.embedded_mesh import embedded_mesh
from eldermesh_cli.stack.runtime_file import Runtime
from eldermesh_cli.stack.stack_run import run_stack
from eldermesh_cli.terminal.output import Output
from shared.settings import Settings


def run_in_foreground(settings: Settings, output: Output) -> None:
    """Run a mesh until it is stopped.

    Raises:
        StackError: it does not start, or a service died too often; no process is left.
    """
    report = asyncio.run(_run(settings, output))
    killed = f", {report.killed_processes} of them killed" if report.killed_processes else ""
    output.note(f"mesh: stopped {counted(report.stopped_processes, 'service')} in {report.stop_seconds:.1f} s{killed}")


async def _run(settings: Settings, output: Output) -> DownAnswer:
    data_dir = settings.data_dir
    with await DataDirLock.acquire(data_dir) as lock, StartDisplay(output) as display:
        mesh = embedded_mesh(settings)
        output.note(f"mesh: starting on {data_dir}; {IN_MEMORY}")

        def ready(runtime: Runtime, processes: Sequence[ProcessAnswer]) -> None:
            display.done()
            show_ready(output, runtime, processes, data_dir, stop="Ctrl-C, or `mesh down`")

        return await run_stack(
            lock,
            mesh.services,
            mesh.addresses,
            on_ready=ready,
            on_change=display.update,
            describe_loss=lambda name: lost_with(name, mesh.settings),
            announce=display.announce,
        )
