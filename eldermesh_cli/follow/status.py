"""`mesh status JOB`: what state a job is in, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from eldermesh_cli.follow.job_lines import advice_pairs, error_text, hold_text, why_text
from eldermesh_cli.program.errors import ExitStatus
from eldermesh_cli.program.options import EXAMPLE_JOB, JobArgument, JsonOption, checked_job_id, example
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.program.verb_run import answer_from_mesh
from eldermesh_cli.terminal.output import Output, pairs_table

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import ItemOfNote, JobStatus
    from eldermesh_cli.program.connection import OpenMesh

HISTORY_SECONDS = 3.0
"""How long the history may take to name the first failed item: the rest of the answer is at hand."""

app = typer.Typer()


@app.command(epilog=example(f"mesh status {EXAMPLE_JOB}", f"mesh status {EXAMPLE_JOB} --json | jq .state"))
def status(job: JobArgument, *, as_json: JsonOption = False) -> ExitStatus:
    """Show what state a job is in, what it waits for, and how many of its items have ended."""
    job_id = checked_job_id(job)
    answer_from_mesh(lambda mesh: _ask(mesh, job_id), _show, as_json=as_json)
    return ExitStatus.OK


def _show(output: Output, answer: JobStatus) -> None:
    job_id = answer.job_id
    output.show(pairs_table(status_pairs(answer)))
    if answer.state == "held":
        output.note(f"`mesh approve {job_id}` lets it go on, `mesh reject {job_id}` ends it")
    if answer.items_failed and answer.first_error is None:
        output.note(f"the first failed item was not found soon; `mesh why {job_id}` looks for longer")


async def _ask(mesh: Mesh, job_id: str) -> JobStatus:
    from eldermesh_cli.follow.job_status import job_status
    from eldermesh_cli.program.connection import open_mesh
    from shared.telemetry.trace_page import trace_page

    async with open_mesh(mesh) as opened:
        answer = await job_status(opened, job_id)
        told: dict[str, object] = {"trace_url": trace_page(mesh.settings.trace_ui_url, answer.trace_id)}
        if answer.items_failed:
            told["first_error"] = await _first_failed(opened, job_id)
        return answer.model_copy(update=told)


async def _first_failed(opened: OpenMesh, job_id: str) -> ItemOfNote | None:
    import asyncio
    from contextlib import suppress
    from functools import partial

    from eldermesh.client.errors import MeshUnavailableError
    from eldermesh_cli.follow.job_history import read_facts
    from eldermesh_cli.follow.job_status import item_of_note
    from shared.facts.fact import UnreadableFactError

    with suppress(TimeoutError, MeshUnavailableError, UnreadableFactError):
        async with asyncio.timeout(HISTORY_SECONDS):
            return item_of_note(await opened.jobs.first_error(job_id, partial(read_facts, opened)))
    return None


def status_pairs(answer: JobStatus) -> list[tuple[str, object]]:
    """A status for people."""
    waiting: str | None = answer.waiting_for
    if waiting is not None and answer.waiting_until is not None:
        waiting = f"{waiting}, at most until {answer.waiting_until}"
    return [
        ("job", answer.job_id),
        ("state", answer.state),
        ("waits for", waiting),
        ("why", why_text(answer.state, answer.error_type, answer.reason)),
        ("held", hold_text(answer.holds[-1]) if answer.holds else None),
        ("engine", answer.engine),
        ("items", _items(answer)),
        ("first error", _first_error(answer)),
        ("accepted", answer.accepted_at),
        ("ended", answer.ended_at),
        ("cost", None if answer.cost_usd is None else f"{answer.cost_usd:.6f} USD"),
        *advice_pairs(answer.advice),
        ("trace", answer.trace_url or answer.trace_id),
    ]


def _first_error(answer: JobStatus) -> str | None:
    first = answer.first_error
    return None if first is None else error_text(first.item_index, first.error_type, first.error_message)


def _items(answer: JobStatus) -> str | None:
    if answer.items_total is None:
        return None
    parts = [f"{answer.items_succeeded} succeeded"]
    if answer.items_failed:
        parts.append(f"{answer.items_failed} failed")
    if answer.items_running:
        parts.append(f"{answer.items_running} running")
    if answer.ended_at is not None and (not_run := answer.items_total - answer.items_succeeded - answer.items_failed):
        parts.append(f"{not_run} not run")
    return f"{', '.join(parts)} of {answer.items_total}"
