"""`mesh cancel JOB`: ask that a job ends, and wait until it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eldermesh_cli.program.errors import ExitStatus, conflict, not_found, outcome_unknown
from eldermesh_cli.program.options import EXAMPLE_JOB, JobArgument, JsonOption, checked_job_id, example
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.program.verb_run import answer_from_mesh
from eldermesh_cli.terminal.output import Output, pairs_table

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import CancelAnswer, JobStatus
    from eldermesh_cli.program.connection import OpenMesh

_EFFECT_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 0.03

app = typer.Typer()


@app.command(epilog=example(f"mesh cancel {EXAMPLE_JOB}", f"mesh cancel {EXAMPLE_JOB} --reason 'wrong input'"))
def cancel(
    job: JobArgument,
    *,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it stands in the job's end.")] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """End a job. What has not ended by then is not run; a job that has ended already stays as it is."""
    job_id = checked_job_id(job)
    answer_from_mesh(lambda mesh: _cancel(mesh, job_id, reason), _show, as_json=as_json)
    return ExitStatus.OK


def _show(output: Output, answer: CancelAnswer) -> None:
    if not answer.changed:
        output.note(f"job {answer.job_id} had ended already")
    output.show(pairs_table([("job", answer.job_id), ("state", answer.state), ("why", answer.reason)]))


async def _cancel(mesh: Mesh, job_id: str, reason: str | None) -> CancelAnswer:
    from eldermesh_cli.answers.jobs import CancelAnswer
    from eldermesh_cli.follow.job_status import job_status
    from eldermesh_cli.program.connection import mesh_client, open_mesh
    from eldermesh_cli.program.trace_context import traced

    async with open_mesh(mesh) as opened:
        status = await job_status(opened, job_id)
        if status.state == "dead":
            raise not_found(
                f"job {job_id} was refused, so there is nothing to cancel: {status.reason}",
                f"`mesh dlq show {job_id}` shows it as it was sent",
            )
        changed = status.ended_at is None
        if changed:
            await _check_tenant(opened, job_id)
            async with (
                traced(mesh.settings),
                mesh_client(mesh.settings) as client,
            ):
                await client.cancel(job_id, reason)
            status = await _ended(opened, job_id)
    return CancelAnswer(job_id=job_id, state=status.state, reason=status.reason, changed=changed)


async def _check_tenant(opened: OpenMesh, job_id: str) -> None:
    """Say at once what the mesh would say by a dead letter: the inbox of a tenant takes cancels of its own jobs."""
    inbox_of = opened.mesh.settings.submit_tenant
    job = await opened.jobs.job(job_id)
    if inbox_of is not None and job is not None and job.tenant not in (None, inbox_of):
        raise conflict(
            f"job {job_id} is of tenant {job.tenant}, and this shell speaks for {inbox_of}",
            "unset MESH_SUBMIT_TENANT to cancel on `jobs`",
        )


async def _ended(opened: OpenMesh, job_id: str) -> JobStatus:
    """Wait for the effect: the job has ended, by this cancel or just before it."""
    import asyncio
    import time

    from eldermesh_cli.follow.job_status import live_status

    deadline = time.monotonic() + _EFFECT_SECONDS
    while time.monotonic() < deadline:
        status = await live_status(opened, job_id)
        if status is not None and status.ended_at is not None:
            return status
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
    raise outcome_unknown(
        f"the cancel of job {job_id} was sent, but had no effect within {_EFFECT_SECONDS:g} s",
        f"`mesh status {job_id}` says what becomes of it; does a router run? `mesh doctor` looks",
    )
