"""`mesh watch JOB`: a job's states, results and end as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eldermesh.counted import counted
from eldermesh_cli.follow.job_lines import why_text
from eldermesh_cli.program.errors import ExitStatus
from eldermesh_cli.program.options import (
    EXAMPLE_JOB,
    MAX_WAIT_SECONDS,
    JobArgument,
    JsonOption,
    checked_job_id,
    example,
)
from eldermesh_cli.program.target_mesh import Mesh, find_mesh
from eldermesh_cli.program.verb_run import run_on_mesh
from eldermesh_cli.terminal.output import Output, pairs_table
from eldermesh_cli.terminal.safe_text import in_one_line

if TYPE_CHECKING:
    from eldermesh.contract.results import JobProgress
    from eldermesh_cli.answers.jobs import JobStatus, WatchLine

app = typer.Typer()


@app.command(epilog=example(f"mesh watch {EXAMPLE_JOB}", f"mesh watch {EXAMPLE_JOB} --json --from-sequence 12"))
def watch(
    job: JobArgument,
    *,
    from_sequence: Annotated[
        int, typer.Option(metavar="N", min=1, help="First progress record to show; earlier ones are skipped.")
    ] = 1,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, max=MAX_WAIT_SECONDS, help="Longest watch; default: a job's lifetime."),
    ] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Follow a job until it has ended. Exits with 1 if it did not complete."""
    job_id = checked_job_id(job)
    mesh = find_mesh()
    return run_on_mesh(mesh, lambda: _watch(mesh, job_id, Output(as_json), from_sequence, timeout))


async def _watch(
    mesh: Mesh, job_id: str, output: Output, from_sequence: int, timeout_seconds: float | None
) -> ExitStatus:
    from contextlib import aclosing

    from eldermesh_cli.follow.job_stream import watched
    from eldermesh_cli.program.connection import open_mesh

    limit = mesh.settings.max_job_age_seconds if timeout_seconds is None else timeout_seconds
    last_state = ""
    async with (
        open_mesh(mesh) as opened,
        aclosing(watched(opened, job_id, from_sequence=from_sequence, timeout_seconds=limit)) as records,
    ):
        async for each in records:
            if each.kind == "state":
                last_state = each.record.state
            if output.as_json:
                output.answer(each)
            else:
                _show(output, each)
    return ExitStatus.OK if last_state == "completed" else ExitStatus.NOT_COMPLETED


def _show(output: Output, each: WatchLine) -> None:
    from eldermesh_cli.submit.submission import end_pairs

    if each.kind == "state":
        output.write(_state_line(each.record) + "\n")
    elif each.kind == "progress":
        output.write(_progress_line(each.record) + "\n")
    else:
        output.show("", pairs_table(end_pairs(each.record)))


def _state_line(status: JobStatus) -> str:
    parts: list[str] = [status.state]
    if status.waiting_for is not None:
        parts.append(f"waits for {status.waiting_for}")
    if (why := why_text(status.state, status.reason)) is not None:
        parts.append(in_one_line(why))
    return ", ".join(parts)


def _progress_line(progress: JobProgress) -> str:
    failed = sum(result.status == "failed" for result in progress.results)
    failures = f", {failed} of them failed" if failed else ""
    return (
        f"{progress.recorded_at}  {counted(progress.items_ended, 'item')} ended"
        f"  (+{len(progress.results)}{failures}, by {progress.worker_id})"
    )
