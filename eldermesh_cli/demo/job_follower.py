"""Publishing a job as any Kafka client does, and following it: its results, its end, how long they took, its trace."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from eldermesh.client import Client
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.results import ItemResult
from eldermesh.contract.topics import JOBS
from eldermesh.kafka.whole_producer import WholeProducer
from eldermesh_cli.demo.screen import Screen
from eldermesh_cli.follow.trace_source import Span, fetch_trace

_JOB_SECONDS = 120.0
_SPANS_SECONDS = 30.0
_ASK_AGAIN_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Published:
    """Where a record lies on `jobs`."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of a job; seconds count from before it was published."""

    end: JobEnd
    results: tuple[ItemResult, ...]
    first_result_seconds: float
    end_seconds: float


async def publish_and_follow(
    bootstrap: str, job_id: str, record: Mapping[str, Any], ended: Callable[[int], None]
) -> Followed:
    """Publish a job as any Kafka client does, and follow it to its end; `ended` is told how many items have ended.

    Raises:
        eldermesh.client.ClientError: it was refused, or did not end in time.
    """
    async with Client(bootstrap) as client, _producer(bootstrap) as producer:
        began = time.monotonic()
        first: float | None = None
        await _publish(producer, json.dumps(record))
        results: list[ItemResult] = []
        async for progress in client.progress(job_id, timeout_seconds=_JOB_SECONDS):
            first = first or time.monotonic() - began
            results += progress.results
            ended(progress.items_ended)
        end = await client.wait(job_id, _JOB_SECONDS)
        seconds = time.monotonic() - began
    results.sort(key=lambda result: result.item_index)
    return Followed(end, tuple(results), first or seconds, seconds)


def follow_in_view(screen: Screen, bootstrap: str, job_id: str, record: Mapping[str, Any]) -> Followed:
    """`publish_and_follow` with a bar of the items that have ended."""
    with screen.progress() as progress:
        bar = progress.add_task("items that have ended", total=len(record["items"]))
        return asyncio.run(
            publish_and_follow(bootstrap, job_id, record, lambda ended: progress.update(bar, completed=ended))
        )


def check_completed(screen: Screen, end: JobEnd, claim: str = "the job completed") -> None:
    """Check that a job completed."""
    screen.check(claim, holds=end.status == "completed", found=f"{end.status}: {end.reason}")


async def end_of(bootstrap: str, job_id: str) -> JobEnd:
    """The end of a job, once it is there.

    Raises:
        eldermesh.client.ClientError: it was refused, or did not end in time.
    """
    async with Client(bootstrap) as client:
        return await client.wait(job_id, _JOB_SECONDS)


async def publish_each(bootstrap: str, *values: str) -> list[Published]:
    """Publish records as they stand, without key and headers, as any Kafka client does."""
    async with _producer(bootstrap) as producer:
        return [await _publish(producer, value) for value in values]


@asynccontextmanager
async def _producer(bootstrap: str) -> AsyncIterator[WholeProducer]:
    producer = WholeProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _publish(producer: WholeProducer, value: str) -> Published:
    sent = await producer.send_and_wait(JOBS, value.encode())
    return Published(sent.partition, sent.offset)


async def whole_trace(
    query_url: str, trace_id: str, item_spans: int, named: Mapping[str, int] | None = None
) -> list[Span]:
    """The spans of a trace once it is whole, else those that came in time.

    It is whole when so many items are in it, so many spans of each name in `named`, and no parent is missing.
    """
    wanted = {"process item": item_spans, **(named or {})}
    deadline = time.monotonic() + _SPANS_SECONDS
    while True:
        spans = await fetch_trace(query_url, trace_id)
        found = Counter(span.name for span in spans)
        whole = all(found[name] >= count for name, count in wanted.items()) and not spans_without_parent(spans)
        if whole or time.monotonic() > deadline:
            return spans
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


def spans_of_items(spans: list[Span]) -> list[Span]:
    """The spans in which items ran."""
    return [span for span in spans if span.name == "process item"]


def spans_without_parent(spans: list[Span]) -> list[Span]:
    """Spans whose parent is not among them."""
    known = {span.span_id for span in spans}
    return [span for span in spans if span.parent_span_id is not None and span.parent_span_id not in known]
