"""`mesh why JOB`: where a job's time went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from eldermesh.counted import counted
from eldermesh_cli.follow.job_lines import advice_pairs, error_text, hold_text
from eldermesh_cli.program.errors import ExitStatus, not_found
from eldermesh_cli.program.options import EXAMPLE_JOB, JobArgument, JsonOption, checked_job_id, example
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.program.verb_run import answer_from_mesh
from eldermesh_cli.terminal.output import Output

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import WhyAnswer

_BAR_CELLS = 40
_RAY_START_SECONDS = 1.0
"""A shorter queue cannot have a start of Ray in it."""

_STOPPED_RUNS = "the time of runs that were stopped before their first result counts as queue (see mesh trace)"

app = typer.Typer()


@app.command(epilog=example(f"mesh why {EXAMPLE_JOB}", f"mesh why {EXAMPLE_JOB} --json | jq .segments"))
def why(job: JobArgument, *, as_json: JsonOption = False) -> ExitStatus:
    """Say where a job's time went: admission, decision, hold, pause, queue, run, end. They sum to the total.

    This comes from the job's history alone; `mesh trace` shows the spans.
    """
    job_id = checked_job_id(job)
    answer_from_mesh(lambda mesh: _ask(mesh, job_id), _show, as_json=as_json)
    return ExitStatus.OK


async def _ask(mesh: Mesh, job_id: str) -> WhyAnswer:
    from functools import partial

    from eldermesh_cli.answers.jobs import WhyAnswer, WhySegment
    from eldermesh_cli.follow.job_history import read_facts
    from eldermesh_cli.follow.job_status import holds_of, item_of_note, job_status
    from eldermesh_cli.program.connection import open_mesh

    async with open_mesh(mesh) as opened:
        explanation = await opened.jobs.explanation(job_id, partial(read_facts, opened))
        if explanation is None:
            status = await job_status(opened, job_id)
            raise not_found(
                f"job {job_id} is {status.state}, and its history tells nothing"
                + (f": {status.reason}" if status.reason else ""),
                f"`mesh status {job_id}` shows what is known",
            )
    return WhyAnswer(
        job_id=job_id,
        total_seconds=explanation.total_ms / 1000,
        segments=[WhySegment(name=segment.name, seconds=segment.length_ms / 1000) for segment in explanation.segments],
        advice=[entry.model_dump(mode="json") for entry in explanation.advice],
        engine=explanation.engine,
        holds=holds_of(explanation.holds),
        slowest_item=item_of_note(explanation.slowest),
        first_error=item_of_note(explanation.first_error),
        items_not_run=explanation.items_not_run,
    )


def _show(output: Output, answer: WhyAnswer) -> None:
    total = answer.total_seconds
    lines = [f"job {answer.job_id}: {total:.3f} s"]
    for segment in answer.segments:
        share = segment.seconds / total if total else 0.0
        bar = "█" * max(1, round(share * _BAR_CELLS))
        lines.append(f"  {segment.name:<10}{segment.seconds:>12.3f} s {share:>6.1%}  {bar}")
    about = [*(("held", hold_text(hold)) for hold in answer.holds), *_items(answer), *advice_pairs(answer.advice)]
    queue_seconds = sum(segment.seconds for segment in answer.segments if segment.name == "queue")
    if answer.engine == "ray" and queue_seconds >= _RAY_START_SECONDS:
        about.insert(
            0, ("engine", "ray; the queue includes the start of its head and runners, where they had to start")
        )
    if answer.items_not_run and queue_seconds:
        about.append(("not run", f"{counted(answer.items_not_run, 'item')}; {_STOPPED_RUNS}"))
    lines += [f"  {name:<10}{text}" for name, text in about if text is not None]
    output.write("\n".join(lines) + "\n")


def _items(answer: WhyAnswer) -> Iterator[tuple[str, str]]:
    slowest, failed = answer.slowest_item, answer.first_error
    if slowest is not None and slowest.duration_seconds is not None:
        yield "slowest", f"item {slowest.item_index}, {slowest.duration_seconds:.3f} s"
    if failed is not None:
        yield "failed", error_text(failed.item_index, failed.error_type, failed.error_message)
