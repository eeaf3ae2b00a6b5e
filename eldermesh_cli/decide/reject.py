"""`mesh reject JOB`: end a held job before it runs."""

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
        epilog=example(f"mesh reject {EXAMPLE_JOB}", f"mesh reject {EXAMPLE_JOB} --by ann --reason 'too risky'"),
    )(reject)


def reject(
    job: JobArgument,
    *,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; by default who is logged in.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it stands in the job's end.")] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """End a held job before it runs: it is rejected. Who submitted it cannot decide."""
    from eldermesh_cli.decide.hold_decision import decide, decider

    job_id = checked_job_id(job)
    output = Output(as_json)
    mesh, who = find_mesh(), decider(by)
    answer = run_on_mesh(mesh, lambda: decide(mesh, job_id, "reject", who, reason))
    if as_json:
        output.answer(answer)
    else:
        output.show(pairs_table([("job", answer.job_id), ("state", answer.state), ("by", answer.by)]))
    return ExitStatus.OK
