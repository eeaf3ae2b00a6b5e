"""`mesh results JOB`: what became of each item, as JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eldermesh.counted import counted
from eldermesh_cli.program.errors import CliError, ExitStatus
from eldermesh_cli.program.options import (
    EXAMPLE_JOB,
    JobArgument,
    JsonOption,
    TimeoutOption,
    checked_job_id,
    example,
)
from eldermesh_cli.program.target_mesh import Mesh, find_mesh
from eldermesh_cli.program.verb_run import run_on_mesh
from eldermesh_cli.terminal.output import Output

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from eldermesh.contract.results import JobProgress
    from eldermesh_cli.program.connection import OpenMesh

_LAST_RECORDS_SECONDS = 30.0
"""How long the last results of an ended job may take to appear: there is no order between topics."""

app = typer.Typer()


@app.command(
    epilog=example(
        f"mesh results {EXAMPLE_JOB} | jq .output",
        f"mesh results {EXAMPLE_JOB} --wait > results.jsonl",
    )
)
def results(
    job: JobArgument,
    *,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Go on until the job has ended.")] = False,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Print the results of a job's items, one JSON object a line, in the order of the items.

    Each line comes as soon as those before it are there. While the job runs these are the results so far. The output is
    the same with and without --json.
    """
    job_id = checked_job_id(job)
    mesh = find_mesh()
    run_on_mesh(mesh, lambda: _print(mesh, job_id, Output(as_json), wait=wait, timeout_seconds=timeout))
    return ExitStatus.OK


async def _print(mesh: Mesh, job_id: str, output: Output, *, wait: bool, timeout_seconds: float | None) -> None:
    from contextlib import aclosing

    from eldermesh.client.result_order import in_order
    from eldermesh_cli.follow.job_status import job_status
    from eldermesh_cli.program.connection import open_mesh

    async with open_mesh(mesh) as opened:
        status = await job_status(opened, job_id)
        if status.state == "dead":
            raise CliError(
                ExitStatus.NOT_COMPLETED,
                "dead",
                f"job {job_id} was refused and has no results: {status.reason}",
                f"`mesh dlq show {job_id}` shows it as it was sent",
            )
        if status.ended_at is None and wait:
            limit = mesh.settings.max_job_age_seconds if timeout_seconds is None else timeout_seconds
            records = _followed(opened, job_id, 1, limit)
        else:
            records = _there(opened, job_id)
        printed = 0
        async with aclosing(in_order(records)) as results:
            async for result in results:
                output.answer(result)
                printed += 1
    if status.ended_at is None and not wait:
        output.note(f"job {job_id} is {status.state}: {printed} of {status.items_total} results so far")
    elif status.items_total is not None and printed < status.items_total:
        missing = status.items_total - printed
        output.note(f"no result of {missing} of {counted(status.items_total, 'item')}")


async def _there(opened: OpenMesh, job_id: str) -> AsyncGenerator[JobProgress, None]:
    """The records that are there; of a job that has ended the last may be still to come."""
    from contextlib import aclosing

    from eldermesh.client.progress_sequence import ProgressSequence
    from eldermesh.client.topic_reader import public_record
    from eldermesh.contract.topics import JOBS_PROGRESS
    from eldermesh_cli.program.topic_scan import read_stretches

    job = await opened.jobs.job(job_id)
    sequence = ProgressSequence()
    partition = opened.topics.partition_of(JOBS_PROGRESS, job_id)
    async with aclosing(read_stretches(opened.kafka, [partition])) as records:
        async for record in records:
            if record.key == job_id.encode():
                for progress in sequence.add(public_record(opened.topics, record)):
                    yield progress
    if job is not None and job.end is not None and not sequence.complete(job.end.progress_records_total):
        async with aclosing(_followed(opened, job_id, sequence.next, _LAST_RECORDS_SECONDS)) as rest:
            async for progress in rest:
                yield progress


async def _followed(
    opened: OpenMesh, job_id: str, from_sequence: int, limit_seconds: float
) -> AsyncGenerator[JobProgress, None]:
    from contextlib import aclosing

    from eldermesh_cli.program.connection import mesh_client

    async with (
        mesh_client(opened.mesh.settings) as client,
        aclosing(client.progress(job_id, from_sequence, limit_seconds)) as records,
    ):
        async for progress in records:
            yield progress
