"""The jobs that the mesh knows, filtered, newest first, a page at a time."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from eldermesh.contract.ends import JobEnd
from eldermesh.contract.times import format_time
from eldermesh_cli.answers.jobs import ListAnswer, ListedJob
from eldermesh_cli.follow.job_status import state_word
from eldermesh_cli.program.connection import OpenMesh
from eldermesh_cli.program.errors import usage_error
from services.router.jobs.state import JobState


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
    async for state in opened.jobs.states():
        place = _place(state)
        if place is None or (query.before is not None and place >= query.before):
            continue
        listed = await _listed(opened, state)
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


def _place(state: JobState) -> Place | None:
    """Where a job stands; None for the stub that a cancel without a job leaves."""
    return None if state.acceptance is None else Place(state.acceptance.at, state.job_id)


async def _listed(opened: OpenMesh, state: JobState) -> ListedJob:
    end = None if state.end is None else JobEnd.model_validate_json(state.end.value)
    # An ended job keeps no terms: they stand in its end.
    about = end if end is not None else state.terms
    running = 0 if end is not None else await opened.jobs.items_running(state)
    return ListedJob(
        job_id=state.job_id,
        state=state_word(state, running),
        tenant=about.tenant if about is not None else "",
        workload=about.workload if about is not None else "",
        labels=dict(about.labels) if about is not None else {},
        engine=state.engine if end is None else end.engine,
        items_total=state.items_total if end is None else end.items_total,
        items_ended=state.succeeded + state.failed if end is None else end.items_succeeded + end.items_failed,
        accepted_at=format_time(state.acceptance.at) if state.acceptance is not None else "",
        ended_at=None if end is None else end.ended_at,
    )


def _matches(listed: ListedJob, query: ListQuery) -> bool:
    return (
        (not query.states or listed.state in query.states)
        and query.tenant in (None, listed.tenant)
        and query.workload in (None, listed.workload)
        and query.labels.items() <= listed.labels.items()
    )
