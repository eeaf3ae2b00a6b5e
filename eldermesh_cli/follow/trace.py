"""`mesh trace JOB`: the spans of a job, from the publisher to its items."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eldermesh.counted import counted
from eldermesh_cli.program.errors import ExitStatus, not_found, unavailable, usage_error
from eldermesh_cli.program.options import EXAMPLE_JOB, JobArgument, JsonOption, checked_job_id, example
from eldermesh_cli.program.target_mesh import Mesh, find_mesh
from eldermesh_cli.program.verb_run import run_on_mesh
from eldermesh_cli.terminal.output import Output
from eldermesh_cli.terminal.safe_text import escaped_name

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import JobStatus
    from eldermesh_cli.follow.trace_source import Span

_FIRST_SPANS_SECONDS = 5.0
"""How long the spans of a job that has only just run are waited for: services send them every second or so."""
_ASK_AGAIN_SECONDS = 0.25

app = typer.Typer()


@app.command(
    epilog=example(
        f"mesh trace {EXAMPLE_JOB}",
        f"mesh trace {EXAMPLE_JOB} --json | jq '.spans | length'",
        f"mesh trace {EXAMPLE_JOB} --svg trace.svg",
    )
)
def trace(
    job: JobArgument,
    *,
    show_all: Annotated[bool, typer.Option("--all", help="Draw every span, even of many alike.")] = False,
    alike: Annotated[
        int, typer.Option(metavar="N", min=1, help="Spans of one name below one span that are drawn: the longest.")
    ] = 8,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write a picture of the trace as well, as SVG.")
    ] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Show the trace of a job: what happened where and when, as a tree with bars.

    Spans come from the mesh itself if `mesh up` runs it, else from Jaeger's query API at MESH_TRACE_QUERY_URL.
    """
    job_id = checked_job_id(job)
    output = Output(as_json)
    mesh = find_mesh()
    query_url = mesh.settings.trace_query_url
    if query_url is None:
        raise unavailable(
            "nothing says where spans are kept",
            "set MESH_TRACE_QUERY_URL to Jaeger's query API, as http://localhost:16686",
        )
    status, spans = run_on_mesh(mesh, lambda: _fetch(mesh, job_id, query_url))
    trace_id = status.trace_id
    if svg is not None:
        _draw(svg, trace_id, spans)
    if as_json:
        output.json({"trace_id": trace_id, "spans": [span.as_json() for span in spans]})
        return ExitStatus.OK
    from eldermesh_cli.follow.trace_tree import trace_tree

    output.show(trace_tree(spans, show_all=show_all, max_alike=alike))
    output.note(f"trace {trace_id}, {counted(len(spans), 'span')}")
    if (
        few := items_with_span(spans, status.items_succeeded + status.items_failed, mesh.settings.item_spans)
    ) is not None:
        output.note(few)
    return ExitStatus.OK


def items_with_span(spans: Sequence[Span], items_ended: int, most: int) -> str | None:
    """How many items have a span, where a job has more than get one each."""
    from shared.telemetry.names import ITEM_INDEX

    traced = len({span.attributes[ITEM_INDEX] for span in spans if ITEM_INDEX in span.attributes})
    if traced >= items_ended or items_ended <= most:
        return None
    return f"{traced:,} of {items_ended:,} items have a span (MESH_ITEM_SPANS)"


def _draw(file: Path, trace_id: str, spans: Sequence[Span]) -> None:
    from eldermesh_cli.follow.trace_picture import trace_svg

    try:
        file.write_text(trace_svg(trace_id, spans), encoding="utf-8")
    except OSError as error:
        raise usage_error(
            f"{escaped_name(file)} cannot be written: {error.strerror}", "give --svg another path"
        ) from error


async def _fetch(mesh: Mesh, job_id: str, query_url: str) -> tuple[JobStatus, list[Span]]:
    from eldermesh_cli.follow.job_status import job_status
    from eldermesh_cli.follow.trace_source import TraceUnavailableError, fetch_trace
    from eldermesh_cli.program.connection import open_mesh

    async with open_mesh(mesh) as opened:
        status = await job_status(opened, job_id)
    try:
        deadline = time.monotonic() + _FIRST_SPANS_SECONDS
        while not (spans := await fetch_trace(query_url, status.trace_id)) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
    except TraceUnavailableError as error:
        raise unavailable(
            str(error), "check MESH_TRACE_QUERY_URL; `mesh why` says where the time went without spans"
        ) from error
    if not spans:
        raise not_found(
            f"{query_url} has no spans of trace {status.trace_id} (job {job_id})",
            "spans arrive a second after they end; is MESH_OTLP_ENDPOINT set where the mesh runs?",
        )
    return status, spans
