"""`mesh list`: the jobs that the mesh knows, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eldermesh_cli.program.errors import ExitStatus, usage_error
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.program.verb_run import answer_from_mesh
from eldermesh_cli.terminal.output import Output, columns_table

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import ListAnswer
    from eldermesh_cli.follow.job_page import ListQuery

_STATES = ("accepted", "held", "paused", "running", "completed", "failed", "cancelled", "rejected")

app = typer.Typer()


@app.command(
    "list",
    epilog=example("mesh list --state running", "mesh list --label team=data --limit 5 --json | jq '.jobs[].job_id'"),
)
def list_jobs(
    *,
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help=f"{', '.join(_STATES)}; may be repeated.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    workload: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="NAME=VALUE", help="Jobs with all of these labels.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most jobs to show.")] = 20,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where an earlier list ended: its `next_cursor`.")
    ] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """List the jobs that the mesh has accepted, newest first. What was refused is in `mesh dlq ls`."""
    from eldermesh_cli.follow.job_page import ListQuery, read_cursor

    for word in state or ():
        if word not in _STATES:
            hint = "`mesh dlq ls` lists what was refused" if word == "dead" else f"states are {', '.join(_STATES)}"
            raise usage_error(f"jobs are not listed by state {word!r}", hint)
    query = ListQuery(
        states=frozenset(state or ()),
        tenant=tenant,
        workload=workload,
        labels=_labels(label or ()),
        limit=limit,
        before=None if cursor is None else read_cursor(cursor),
    )
    answer_from_mesh(lambda mesh: _ask(mesh, query), _show, as_json=as_json)
    return ExitStatus.OK


def _show(output: Output, answer: ListAnswer) -> None:
    rows = [
        (job.job_id, job.state, job.workload, job.tenant, job.accepted_at, _items(job.items_ended, job.items_total))
        for job in answer.jobs
    ]
    output.show(columns_table(("JOB", "STATE", "WORKLOAD", "TENANT", "ACCEPTED", "ITEMS"), rows))
    if answer.next_cursor is not None:
        output.note(f"more: --cursor {answer.next_cursor}")


async def _ask(mesh: Mesh, query: ListQuery) -> ListAnswer:
    from eldermesh_cli.follow.job_page import list_of
    from eldermesh_cli.program.connection import open_mesh

    async with open_mesh(mesh) as opened:
        return await list_of(opened, query)


def _labels(texts: list[str] | tuple[str, ...]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise usage_error(f"--label {text!r} is not NAME=VALUE")
        labels[name] = value
    return labels


def _items(ended: int, total: int | None) -> str:
    return f"{ended}/{'?' if total is None else total}"
