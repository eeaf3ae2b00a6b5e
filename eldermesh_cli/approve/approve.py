"""`mesh approve JOB` and `mesh reject JOB`: decide on a held job, and wait until the decision has its effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eldermesh_cli.program.errors import ExitStatus
from eldermesh_cli.program.options import EXAMPLE_JOB, JobArgument, JsonOption, checked_job_id, example
from eldermesh_cli.program.verb_run import answer_from_mesh
from eldermesh_cli.terminal.output import Output, pairs_table

if TYPE_CHECKING:
    from eldermesh.contract.vocabulary import Decision
    from eldermesh_cli.answers.jobs import DecisionAnswer

_ByOption = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; by default who is logged in.")]

app = typer.Typer()


@app.command(
    epilog=example(f"mesh approve {EXAMPLE_JOB}", f"mesh approve {EXAMPLE_JOB} --by ann --reason 'looks fine'")
)
def approve(
    job: JobArgument,
    *,
    by: _ByOption = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; told with the end of the hold.")] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Let a held job go on. Who submitted it cannot decide."""
    return _decide("approve", job, by, reason, as_json=as_json)


@app.command(epilog=example(f"mesh reject {EXAMPLE_JOB}", f"mesh reject {EXAMPLE_JOB} --by ann --reason 'too risky'"))
def reject(
    job: JobArgument,
    *,
    by: _ByOption = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it stands in the job's end.")] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """End a held job before it runs: it is rejected. Who submitted it cannot decide."""
    return _decide("reject", job, by, reason, as_json=as_json)


def _decide(decision: Decision, job: str, by: str | None, reason: str | None, *, as_json: bool) -> ExitStatus:
    from eldermesh_cli.approve.hold_decision import decide, decider

    job_id = checked_job_id(job)
    answer_from_mesh(lambda mesh: decide(mesh, job_id, decision, decider(by), reason), _show, as_json=as_json)
    return ExitStatus.OK


def _show(output: Output, answer: DecisionAnswer) -> None:
    output.show(pairs_table([("job", answer.job_id), ("state", answer.state), ("by", answer.by)]))
