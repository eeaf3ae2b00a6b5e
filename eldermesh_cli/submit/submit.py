"""`mesh submit`: send a job, and say whether it was accepted or how it ended."""

from __future__ import annotations

from typing import Annotated

import typer

from eldermesh.contract.vocabulary import AdviceLevel, EngineChoice, Priority
from eldermesh_cli.program.errors import ExitStatus
from eldermesh_cli.program.options import JsonOption, TimeoutOption, example
from eldermesh_cli.program.target_mesh import find_mesh
from eldermesh_cli.program.verb_run import run_on_mesh
from eldermesh_cli.submit.job_document import TypedJob, build_submit
from eldermesh_cli.terminal.output import Output

_FIELDS = "What the job asks for"

app = typer.Typer()


@app.command(
    epilog=example(
        "mesh submit python --function math:sqrt 1 4 9 --wait",
        "seq 100 | mesh submit python --function math:sqrt - --label team=data",
        "mesh submit python --function math:fsum -i '[3, 4]' --idempotency-key nightly-42",
        "mesh submit --file job.json --json",
    )
)
def submit(  # noqa: PLR0913 - each is an option of the command line
    workload: Annotated[
        str | None, typer.Argument(help="What runs the items, as `python`; not needed with --file.")
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="ITEM...", help="Items: JSON, else text. `-` reads JSON lines from standard input."),
    ] = None,
    *,
    item: Annotated[list[str] | None, typer.Option("--item", "-i", help="One item more; may be repeated.")] = None,
    items_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="JSON lines, an item each; `-` is standard input.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="A whole submit as JSON; options win over it.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Take every item as a string, even if it is JSON.")] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the job's end and print it.")] = False,
    timeout: TimeoutOption = None,
    items_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Not supported yet: refused.", rich_help_panel=_FIELDS)
    ] = None,
    function: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="Option `function` of `python`.", rich_help_panel=_FIELDS),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="NAME=VALUE",
            help="An option of the workload; JSON, else text.",
            rich_help_panel=_FIELDS,
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="NAME=VALUE", rich_help_panel=_FIELDS)
    ] = None,
    job_id: Annotated[
        str | None, typer.Option(metavar="UUID", help="The job's id; default: a new one.", rich_help_panel=_FIELDS)
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Makes a repeat of this submit the same job.", rich_help_panel=_FIELDS),
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_FIELDS)] = None,
    submitted_by: Annotated[str | None, typer.Option(metavar="TEXT", help="Who asks.", rich_help_panel=_FIELDS)] = None,
    priority: Annotated[
        Priority | None,
        typer.Option(metavar="NAME", help="interactive, normal (default) or batch.", rich_help_panel=_FIELDS),
    ] = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option(metavar="NAME", help="auto (default: by the items), celery or ray.", rich_help_panel=_FIELDS),
    ] = None,
    advice: Annotated[
        AdviceLevel | None,
        typer.Option(
            metavar="NAME", help="full (default: of all sages), rules (of the router) or none.", rich_help_panel=_FIELDS
        ),
    ] = None,
    active_timeout_seconds: Annotated[
        float | None,
        typer.Option(metavar="N", help="Fails the job after; holds and pauses do not count.", rich_help_panel=_FIELDS),
    ] = None,
    expires_after_seconds: Annotated[
        float | None,
        typer.Option(metavar="N", help="Fails the job so long after acceptance.", rich_help_panel=_FIELDS),
    ] = None,
    item_timeout_seconds: Annotated[
        float | None, typer.Option(metavar="N", help="Fails an item that runs longer.", rich_help_panel=_FIELDS)
    ] = None,
    max_cost_usd: Annotated[
        float | None, typer.Option(metavar="N", help="Fails the job that costs more.", rich_help_panel=_FIELDS)
    ] = None,
    max_failed_items: Annotated[
        int | None,
        typer.Option(metavar="N", help="Fails the job of which more items fail; default: 0.", rich_help_panel=_FIELDS),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Not supported yet: refused.", rich_help_panel=_FIELDS)
    ] = False,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Send a job. Says within 5 seconds whether the mesh took it; with --wait how it ended."""
    job = build_submit(
        TypedJob(
            workload=workload,
            inline=(*(items or ()), *(item or ())),
            items_file=items_file,
            document=file,
            as_text=text,
            options=option or (),
            labels=label or (),
            function=function,
            fields={
                "items_url": items_url,
                "job_id": job_id,
                "idempotency_key": idempotency_key,
                "tenant": tenant,
                "submitted_by": submitted_by,
                "priority": priority,
                "engine": engine,
                "advice": advice,
                "active_timeout_seconds": active_timeout_seconds,
                "expires_after_seconds": expires_after_seconds,
                "item_timeout_seconds": item_timeout_seconds,
                "max_cost_usd": max_cost_usd,
                "max_failed_items": max_failed_items,
                "stream": stream or None,
            },
        )
    )
    mesh = find_mesh()
    from eldermesh_cli.submit.submission import Submission

    submission = Submission(mesh, job, Output(as_json))
    try:
        return run_on_mesh(mesh, (lambda: submission.ended(timeout)) if wait else submission.accepted)
    except KeyboardInterrupt:
        submission.interrupted()
        raise
