"""The check of a job's trace: its spans against the matrix, and the trace context of every record of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.topics import JOBS_DONE, JOBS_PROGRESS
from eldermesh_cli.follow.trace_source import Span, fetch_trace
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings
from tests.trace_edges import EDGES, NOT_RECEIVED, Edge, assert_edges, edges_of
from tests.waiting import wait_until
from tests.whole_topic import read_topic

TRACED_TOPICS = (JOBS_HISTORY, JOBS_PROGRESS, JOBS_DONE)


async def received_spans(settings: Settings, trace_id: str) -> list[Span]:
    """What the receiver has of a trace now."""
    assert settings.trace_query_url is not None
    return await fetch_trace(settings.trace_query_url, trace_id)


async def whole_trace(
    settings: Settings,
    trace_id: str,
    edges: Iterable[Edge] = EDGES,
    *,
    items_total: int,
    below_unknown: Iterable[str] = (),
) -> list[Span]:
    """The spans of a job's trace, once all of them have arrived: all edges, all items, and the parents of all.

    `below_unknown`: names of spans to wait for whose parent was never exported, as a fact that a test wrote has none.
    """
    wanted = set(edges)
    named = set(below_unknown)
    children = {child for _, child in wanted}

    async def look() -> list[Span]:
        spans = await received_spans(settings, trace_id)
        found = edges_of(spans)
        orphans = {child for parent, child in found if parent == NOT_RECEIVED} & children
        items = [span for span in spans if span.name == "process item"]
        arrived = named <= {span.name for span in spans}
        return spans if wanted <= found and arrived and not orphans and len(items) == items_total else []

    return await wait_until(look, description=f"trace {trace_id} is whole")


async def assert_traced(settings: Settings, job_id: str, trace_id: str, edges: Iterable[Edge] = EDGES) -> list[Span]:
    """Fail unless what was received of a job is one trace by the matrix, and each record of the job carries it.

    The job has ended, and its spans were exported; return them.
    """
    spans = await received_spans(settings, trace_id)
    assert_edges(spans, edges)
    assert_records_traced(await traces_of_records(settings, job_id), trace_id)
    return spans


async def traces_of_records(settings: Settings, job_id: str) -> list[tuple[str, str | None]]:
    """Of each record of a job in the history and in what is projected from it: its kind, and its trace id."""
    found: list[tuple[str, str | None]] = []
    for topic in TRACED_TOPICS:
        for record in await read_topic(settings, topic):
            if header_text(record.headers, "ce_subject") == job_id:
                traceparent = header_text(record.headers, "traceparent")
                kind = f"{topic}: {header_text(record.headers, 'ce_type')}"
                found.append((kind, traceparent.split("-")[1] if traceparent else None))
    return found


def assert_records_traced(records: list[tuple[str, str | None]], trace_id: str) -> None:
    """Fail unless there are records in each topic, and all are of the trace."""
    assert {kind.partition(":")[0] for kind, _ in records} == set(TRACED_TOPICS)
    astray = {kind: found for kind, found in records if found != trace_id}
    assert not astray, f"records that are not of trace {trace_id}: {astray}"


def traces_of_job(spans_path: Path, job_id: str) -> set[str]:
    """The ids of all traces in a span store that have a span of the job."""
    with closing(sqlite3.connect(f"{spans_path.as_uri()}?mode=ro", uri=True)) as store:
        rows = store.execute("SELECT trace_id FROM span WHERE instr(record, ?)", (job_id.encode(),))
        return {trace_id for (trace_id,) in rows}
