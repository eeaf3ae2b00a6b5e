"""`mesh ask PROMPT`: have Claude answer one prompt, without a job around it."""

from __future__ import annotations

from typing import Annotated

import typer

from eldermesh_cli.program.errors import ExitStatus, usage_error
from eldermesh_cli.program.options import EXAMPLE_JOB, JsonOption, TimeoutOption, checked_job_id, example
from eldermesh_cli.program.target_mesh import find_mesh
from eldermesh_cli.program.verb_run import run_on_mesh
from eldermesh_cli.terminal.output import Output

_FIELDS = "What the request asks for"
_OTHERS = "A request that was sent before"

app = typer.Typer()


@app.command(
    epilog=example(
        "mesh ask 'Say hi' --wait",
        "git diff | mesh ask - --stream --option system_prompt='You review code.'",
        "mesh ask 'What is in this directory?' --tool Read --tool Bash --option cwd=/srv/code --stream --json",
        f"mesh ask --follow {EXAMPLE_JOB} --from-sequence 42",
    )
)
def ask(  # noqa: PLR0913 - each is an option of the command line
    prompt: Annotated[str | None, typer.Argument(help="The prompt; `-` reads it from standard input.")] = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end and print the answer.")] = False,
    stream: Annotated[bool, typer.Option("--stream", "-s", help="Print what Claude says as it comes.")] = False,
    timeout: TimeoutOption = None,
    follow: Annotated[
        str | None,
        typer.Option(metavar="UUID", help="Stream this request; with --wait only its end.", rich_help_panel=_OTHERS),
    ] = None,
    from_sequence: Annotated[
        int, typer.Option(min=1, help="Begin at this record of --attempt.", rich_help_panel=_OTHERS)
    ] = 1,
    attempt: Annotated[int, typer.Option(min=1, help="Skip what older attempts said.", rich_help_panel=_OTHERS)] = 1,
    cancel: Annotated[
        str | None, typer.Option(metavar="UUID", help="End this request, and print its end.", rich_help_panel=_OTHERS)
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why --cancel.", rich_help_panel=_OTHERS)] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="JSON, else text.", rich_help_panel=_FIELDS),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_FIELDS)] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="A tool that Claude may use; may be repeated.", rich_help_panel=_FIELDS),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="NAME=VALUE", rich_help_panel=_FIELDS)
    ] = None,
    request_id: Annotated[
        str | None, typer.Option(metavar="UUID", help="Default: a new one.", rich_help_panel=_FIELDS)
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Makes a repeat the same request.", rich_help_panel=_FIELDS),
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", rich_help_panel=_FIELDS)] = None,
    submitted_by: Annotated[str | None, typer.Option(metavar="TEXT", help="Who asks.", rich_help_panel=_FIELDS)] = None,
    timeout_seconds: Annotated[
        float | None, typer.Option(help="Fails a run that takes longer.", rich_help_panel=_FIELDS)
    ] = None,
    expires_after_seconds: Annotated[
        float | None, typer.Option(help="Fails the request so long after acceptance.", rich_help_panel=_FIELDS)
    ] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Have Claude answer one prompt.

    Says within 5 seconds whether the mesh took it; with --wait or --stream the answer.
    """
    from eldermesh_cli.submit.prompt import Asking
    from eldermesh_cli.submit.request_document import TypedRequest, build_request

    given = [
        name for name, value in (("PROMPT", prompt), ("--follow", follow), ("--cancel", cancel)) if value is not None
    ]
    if len(given) != 1:
        raise usage_error("give exactly one of PROMPT, --follow and --cancel", "`mesh ask --help` shows how")
    output = Output(as_json)
    if prompt is None:
        mesh = find_mesh()
        asking = Asking(mesh, output, timeout)
        known = checked_job_id(follow or cancel or "")
        if cancel is not None:
            return run_on_mesh(mesh, lambda: asking.cancel(known, reason))
        return run_on_mesh(
            mesh, lambda: asking.follow(known, from_sequence=from_sequence, attempt=attempt, only_end=wait)
        )
    request = build_request(
        TypedRequest(
            prompt=prompt,
            options=option or (),
            labels=label or (),
            model=model,
            tools=tool or (),
            fields={
                "request_id": request_id,
                "idempotency_key": idempotency_key,
                "tenant": tenant,
                "submitted_by": submitted_by,
                "timeout_seconds": timeout_seconds,
                "expires_after_seconds": expires_after_seconds,
            },
        )
    )
    mesh = find_mesh()
    asking = Asking(mesh, output, timeout)
    try:
        return run_on_mesh(mesh, lambda: asking.ask(request, stream=stream, wait=wait))
    except KeyboardInterrupt:
        asking.interrupted()
        raise
