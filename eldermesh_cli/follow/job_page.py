"""The jobs that the mesh knows, filtered, newest first, a page at a time."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from eldermesh.contract.times import format_time
from eldermesh_cli.answers.jobs import ListAnswer, ListedJob
from eldermesh_cli.program.connection import OpenMesh
from eldermesh_cli.program.errors import usage_error
from services.router.read_model.job import JobSummary


class Place(NamedTuple):
    """Where a job stands in the list. `accepted_at` is milliseconds since 1970; the id makes the order total."""

    accepted_at: int
    job_id: str


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which jobs, how many at most, and before which place."""

    limit: int
    states: frozenset[str] = frozenset()
    tenant: str | None = None
    workload: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    before: Place | None = None


_MOST_DIGITS = 18
"""Of milliseconds in a cursor; Python refuses to read thousands of them."""

_KEPT_ABOVE_PAGE = 10_000
"""Jobs that are gathered before all but the newest are dropped again."""


async def list_of(opened: OpenMesh, query: ListQuery) -> ListAnswer:
    """One page. Every known job is looked at; not many more than the page are kept.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    found: dict[Place, ListedJob] = {}
    async for job in opened.jobs.jobs():
        place = Place(job.accepted_at, job.job_id)
        if query.before is not None and place >= query.before:
            continue
        listed = _listed(job)
        if _matches(listed, query):
            found[place] = listed
            if len(found) > query.limit + _KEPT_ABOVE_PAGE:
                found = {kept: found[kept] for kept in heapq.nlargest(query.limit + 1, found)}
    page = heapq.nlargest(query.limit + 1, found)
    more = len(page) > query.limit
    return ListAnswer(
        jobs=[found[place] for place in page[: query.limit]],
        next_cursor=write_cursor(page[query.limit - 1]) if more else None,
    )


def write_cursor(place: Place) -> str:
    """A place as text that goes into a command line."""
    return f"{place.accepted_at}.{place.job_id}"


def read_cursor(text: str) -> Place:
    """Read a cursor back.

    Raises:
        CliError: it is none.
    """
    accepted_at, separator, job_id = text.partition(".")
    if not separator or not accepted_at.isascii() or not accepted_at.isdigit() or len(accepted_at) > _MOST_DIGITS:
        raise usage_error(f"{text!r} is no cursor", "take `next_cursor` of an earlier `mesh list --json`")
    return Place(int(accepted_at), job_id)


def _listed(job: JobSummary) -> ListedJob:
    return ListedJob(
        job_id=job.job_id,
        state=job.state,
        tenant=job.tenant or "",
        workload=job.workload or "",
        labels=dict(job.labels),
        engine=job.engine,
        items_total=job.items_total,
        items_ended=job.items_ended,
        accepted_at=format_time(job.accepted_at),
        ended_at=None if job.end is None else job.end.ended_at,
    )


def _matches(listed: ListedJob, query: ListQuery) -> bool:
    return (
        (not query.states or listed.state in query.states)
        and query.tenant in (None, listed.tenant)
        and query.workload in (None, listed.workload)
        and query.labels.items() <= listed.labels.items()
    )
