"""`mesh up`: run a whole mesh on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from eldermesh_cli.operate.mesh.place import DataDirOption, data_dir_of, require_run_extra, stack_errors
from eldermesh_cli.program.errors import ExitStatus
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.program.target_mesh import load_settings
from eldermesh_cli.terminal.output import Output

app = typer.Typer()


@app.command(epilog=example("mesh up", "mesh up --detach && mesh ps", "MESH_DATA_DIR=./state mesh up --slots 4 --json"))
def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it running in the background, once it is ready.")
    ] = False,
    data_dir: DataDirOption = None,
    slots: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Chunks that run at once. Default: MESH_SLOTS, else CPUs.")
    ] = None,
    otlp_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Also send spans and metrics there (OTLP/HTTP base address).")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE:GLOB", help="Functions that `python` jobs may call, too; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Start broker, Redis, router, workers and the store of traces, and keep them running; Ctrl-C stops them.

    The broker is in memory: a stop forgets all jobs and results.
    """
    require_run_extra()
    base = load_settings()
    settings = load_settings(
        data_dir=data_dir_of(data_dir or base.data_dir),
        slots=slots or base.slots,
        otlp_endpoint=otlp_endpoint or base.otlp_endpoint,
        python_functions=(*base.python_functions, *(allow or ())),
    )
    output = Output(as_json)
    with stack_errors(settings.data_dir):
        if detach:
            from eldermesh_cli.operate.mesh.background import run_in_background

            run_in_background(settings, output)
        else:
            from eldermesh_cli.operate.mesh.foreground import run_in_foreground

            run_in_foreground(settings, output)
    return ExitStatus.OK
