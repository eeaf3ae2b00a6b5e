"""`mesh approve JOB`: let a held job go on, and wait until it does."""

from __future__ import annotations

from typing import Annotated

import typer

from eldermesh_cli.program.errors import ExitStatus
from eldermesh_cli.program.options import EXAMPLE_JOB, PANEL_JOBS, JobArgument, JsonOption, checked_job_id, example
from eldermesh_cli.program.target_mesh import find_mesh
from eldermesh_cli.program.verb_run import run_on_mesh
from eldermesh_cli.terminal.output import Output, pairs_table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        rich_help_panel=PANEL_JOBS,
        epilog=example(f"mesh approve {EXAMPLE_JOB}", f"mesh approve {EXAMPLE_JOB} --by ann --reason 'looks fine'"),
    )(approve)


def approve(
    job: JobArgument,
    *,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; by default who is logged in.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; told with the end of the hold.")] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Let a held job go on. Who submitted it cannot decide."""
    from eldermesh_cli.decide.hold_decision import decide, decider

    job_id = checked_job_id(job)
    output = Output(as_json)
    mesh, who = find_mesh(), decider(by)
    answer = run_on_mesh(mesh, lambda: decide(mesh, job_id, "approve", who, reason))
    if as_json:
        output.answer(answer)
    else:
        output.show(pairs_table([("job", answer.job_id), ("state", answer.state), ("by", answer.by)]))
    return ExitStatus.OK
