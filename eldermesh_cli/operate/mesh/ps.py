"""`mesh ps`: the services of the mesh of a data directory."""

from __future__ import annotations

import asyncio

import typer

from eldermesh_cli.answers.stack import PsAnswer
from eldermesh_cli.operate.mesh.place import DataDirOption, data_dir_of, stack_errors
from eldermesh_cli.program.errors import ExitStatus, unavailable
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.stack.control import request
from eldermesh_cli.terminal.output import Output, columns_table

_MEGABYTE = 1_000_000

app = typer.Typer()


@app.command(epilog=example("mesh ps", "mesh ps --json | jq '.processes[].pid'"))
def ps(*, data_dir: DataDirOption = None, as_json: JsonOption = False) -> ExitStatus:
    """Show the services of the mesh that runs here: process, state, restarts, memory."""
    place = data_dir_of(data_dir)
    output = Output(as_json)
    with stack_errors(place):
        try:
            told = asyncio.run(request(place, "ps"))
        except TimeoutError as error:
            raise unavailable(
                f"the supervisor of the mesh on {place} does not answer", "`mesh logs supervisor` shows what it said"
            ) from error
    answer = PsAnswer.model_validate({"processes": told["processes"]})
    if as_json:
        output.answer(answer)
        return ExitStatus.OK
    if not told["ready"]:
        output.note("the mesh is not ready yet")
    total = sum(process.rss_bytes for process in answer.processes)
    rows = [(p.name, p.pid, p.state, p.restarts_total, f"{p.rss_bytes / _MEGABYTE:.0f} MB") for p in answer.processes]
    output.show(
        columns_table(
            ("name", "pid", "state", "restarts", "memory"), [*rows, ("", "", "", "", f"{total / _MEGABYTE:.0f} MB")]
        )
    )
    for process in answer.processes:
        if process.trouble is not None:
            output.note(f"{process.name} {process.trouble}; `mesh logs {process.name}` says why")
    return ExitStatus.OK
