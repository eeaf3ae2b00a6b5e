"""`mesh results JOB`: what became of each item, as JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

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
    from eldermesh.contract.results import ItemResult
    from eldermesh_cli.program.connection import OpenMesh

_LAST_RECORDS_SECONDS = 30.0
"""How long the results of an ended job may take to appear: there is no order between topics."""

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
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the job's end first.")] = False,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Print the results of a job's items, one JSON object a line, in the order of the items.

    While the job runs these are the results so far. The output is the same with and without --json.
    """
    job_id = checked_job_id(job)
    mesh = find_mesh()
    run_on_mesh(mesh, lambda: _print(mesh, job_id, Output(as_json), wait=wait, timeout_seconds=timeout))
    return ExitStatus.OK


async def _print(mesh: Mesh, job_id: str, output: Output, *, wait: bool, timeout_seconds: float | None) -> None:
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
        if status.ended_at is not None:
            found = await _all_results(opened, job_id, _LAST_RECORDS_SECONDS)
        elif wait:
            limit = mesh.settings.max_job_age_seconds if timeout_seconds is None else timeout_seconds
            found = await _all_results(opened, job_id, limit)
        else:
            found = await _results_so_far(opened, job_id)
            output.note(f"job {job_id} is {status.state}: {len(found)} of {status.items_total} results so far")
    for result in found:
        output.answer(result)


async def _all_results(opened: OpenMesh, job_id: str, limit_seconds: float) -> list[ItemResult]:
    from eldermesh_cli.program.connection import mesh_client

    async with mesh_client(opened.mesh.settings) as client:
        return [result async for result in client.results(job_id, limit_seconds)]


async def _results_so_far(opened: OpenMesh, job_id: str) -> list[ItemResult]:
    from eldermesh.client.progress_sequence import ProgressSequence
    from eldermesh.client.topic_reader import public_record
    from eldermesh.contract.topics import JOBS_PROGRESS
    from eldermesh_cli.program.topic_scan import read_stretches

    sequence = ProgressSequence()
    found: list[tuple[int, int, ItemResult]] = []
    async for record in read_stretches(opened.kafka, [opened.topics.partition_of(JOBS_PROGRESS, job_id)]):
        if record.key == job_id.encode():
            for progress in sequence.add(public_record(opened.topics, record)):
                found += [(progress.stage_index, result.item_index, result) for result in progress.results]
    return [result for _, _, result in sorted(found, key=lambda each: each[:2])]
