"""`mesh down`: stop the mesh of a data directory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from eldermesh.counted import counted
from eldermesh_cli.answers.stack import DownAnswer
from eldermesh_cli.operate.mesh.place import START_HINT, DataDirOption, data_dir_of, stack_errors
from eldermesh_cli.program.errors import ExitStatus, outcome_unknown, unavailable
from eldermesh_cli.program.options import MAX_WAIT_SECONDS, JsonOption, example
from eldermesh_cli.stack.control import request
from eldermesh_cli.stack.data_dir import data_dir_owner
from eldermesh_cli.stack.errors import NotRunningError
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.terminal.output import Output

_GONE_SECONDS = 30.0
_LISTENS_SECONDS = 5.0
_POLL_SECONDS = 0.05

app = typer.Typer()


@app.command(epilog=example("mesh down", "mesh down --json"))
def down(
    *,
    data_dir: DataDirOption = None,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=1, max=MAX_WAIT_SECONDS, help="Longest wait for services that finish their work."
        ),
    ] = 120.0,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Stop the mesh that runs here, and wait until all its processes are gone. What its broker held is forgotten."""
    place = data_dir_of(data_dir)
    output = Output(as_json)
    owner = data_dir_owner(place)
    if owner is None:
        raise unavailable(f"no mesh runs on {place}", START_HINT)
    with stack_errors(place):
        answer = asyncio.run(_stop(place, owner, timeout))
    if as_json:
        output.answer(answer)
    else:
        killed = f", {answer.killed_processes} of them killed" if answer.killed_processes else ""
        stopped = counted(answer.stopped_processes, "service")
        output.show(f"The mesh has stopped: {stopped} in {answer.stop_seconds:.1f} s{killed}.")
    return ExitStatus.OK


async def _stop(place: Path, owner: ProcessIdentity, timeout_seconds: float) -> DownAnswer:
    """Ask for the stop, then wait until the supervisor is gone: it goes last."""
    try:
        answer = DownAnswer.model_validate(await _ask_to_stop(place, owner, timeout_seconds))
        if await owner.wait_gone(_GONE_SECONDS):
            return answer
    except TimeoutError:
        pass
    raise outcome_unknown(
        f"the supervisor, process {owner.pid}, has not stopped",
        f"wait with `mesh down` again; `kill -KILL {owner.pid}` ends it and all its services at once",
    )


async def _ask_to_stop(place: Path, owner: ProcessIdentity, timeout_seconds: float) -> dict[str, object]:
    """Ask for the stop; a supervisor that has only just begun listens a moment later.

    Raises:
        NotRunningError: it is gone before it could answer.
        TimeoutError: it has not stopped within the limit.
    """
    listens_by = asyncio.get_running_loop().time() + _LISTENS_SECONDS
    while True:
        try:
            return await request(place, "stop", timeout_seconds=timeout_seconds)
        except NotRunningError:
            if not owner.is_alive() or asyncio.get_running_loop().time() > listens_by:
                raise
        await asyncio.sleep(_POLL_SECONDS)
