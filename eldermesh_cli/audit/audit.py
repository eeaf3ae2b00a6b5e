"""`mesh audit`: say whether anything was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eldermesh.counted import counted
from eldermesh_cli.program.errors import ExitStatus
from eldermesh_cli.program.options import MAX_WAIT_SECONDS, JsonOption, example
from eldermesh_cli.program.target_mesh import Mesh, find_mesh
from eldermesh_cli.program.verb_run import run_on_mesh
from eldermesh_cli.terminal.output import Output, pairs_table

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import AuditAnswer

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0

app = typer.Typer()


@app.command(epilog=example("mesh audit", "mesh audit --wait 60 --json | jq .breaches"))
def audit(
    *,
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=MAX_WAIT_SECONDS,
            help="Give what is under way so long to end; then it is missing.",
        ),
    ] = 0.0,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Check that every accepted job and prompt has one end, and the contract's invariants, from the topics alone.

    An end is the one record on `jobs.done` that says what became of a job; an invariant is a promise about such
    records that anyone can check, as that each item's result is there once. Exits with 1 if anything is missing or
    broken; what is still under way counts as missing. Jobs older than the retention of the public topics are left out.
    """
    mesh = find_mesh()
    output = Output(as_json)
    answer = run_on_mesh(mesh, lambda: _audit(mesh, output, wait))
    if as_json:
        output.answer(answer)
    else:
        _show(output, answer)
    return ExitStatus.OK if _is_clean(answer) else ExitStatus.NOT_COMPLETED


def _show(output: Output, answer: AuditAnswer) -> None:
    output.show(pairs_table(_pairs(answer)))
    for breach in answer.breaches:
        about = f" job {breach.job_id}:" if breach.job_id is not None else ""
        output.write(f"breach of invariant {breach.invariant}:{about} {breach.detail}\n")
    if answer.missing or answer.requests.missing:
        output.note("what has no end may still be under way: `mesh status JOB` says it, --wait gives it time to end")
    for job_id in answer.missing_jobs:
        output.write(f"no end: job {job_id}\n")
    for request_id in answer.requests.missing_requests:
        output.write(f"no end: request {request_id}\n")


async def _audit(mesh: Mesh, output: Output, wait_seconds: float) -> AuditAnswer:
    import asyncio
    import time

    from eldermesh_cli.audit.job_ledger import audit

    deadline = time.monotonic() + wait_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        answer = await audit(mesh.settings, told=lambda count: output.note(f"{counted(count, 'record')} read"))
        left = deadline - time.monotonic()
        if _is_clean(answer) or left <= 0:
            return answer
        output.note(f"not ended yet: {counted(answer.missing, 'job')}, {counted(answer.requests.missing, 'prompt')}")
        await asyncio.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _is_clean(answer: AuditAnswer) -> bool:
    requests = answer.requests
    return not (answer.missing or answer.breaches or requests.missing or requests.differing_ends)


def _pairs(answer: AuditAnswer) -> list[tuple[str, object]]:
    return [
        ("jobs accepted", answer.accepted),
        ("jobs ended", answer.ended),
        ("no end yet, or lost", answer.missing),
        ("ends that differ", answer.differing_ends),
        ("identical repeats", answer.identical_duplicates),
        ("results promised", answer.items_expected),
        ("results there", answer.items_counted),
        ("breaches", len(answer.breaches)),
        ("prompts on their own", f"{answer.requests.accepted} accepted, {answer.requests.ended} ended"),
    ]
