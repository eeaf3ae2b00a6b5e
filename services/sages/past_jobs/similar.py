"""Which past jobs are like a new one, and what they took."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

SIZE_FACTOR: Final = 2
"""Jobs with half to twice as many items have the same size."""

LEAST_OF_SIZE: Final = 3
"""With fewer jobs of the same size, jobs of any size count, scaled by their items."""

MOST_SAMPLES: Final = 200
"""Only the most recent jobs count, so that an estimate follows changes."""

DUPLICATE_MS: Final = 24 * 3600 * 1000
"""A job that ended longer ago does not count as a duplicate."""

_LIVE_MS: Final = 7 * DUPLICATE_MS

Basis = Literal["same_size", "scaled", "workload_scaled", "none"]


@dataclass(frozen=True, slots=True)
class Likeness:
    """What similar jobs have in common: the workload, the subject (`shared.job_subject`), the size."""

    job_id: str
    workload: str
    subject: str
    items_total: int | None


@dataclass(frozen=True, slots=True)
class SimilarJobs:
    """What similar jobs took; each sequence has its own number of samples.

    `queue_seconds` is from the routing to the first item's start, `duration_seconds` from there to the end.
    `item_seconds` is the mean time of one item.
    """

    basis: Basis
    duration_seconds: tuple[float, ...] = ()
    cost_usd: tuple[float, ...] = ()
    queue_seconds: tuple[float, ...] = ()
    item_seconds: float | None = None


def find_similar(connection: sqlite3.Connection, like: Likeness) -> SimilarJobs:
    """Completed jobs of the same workload, subject and size; if too few, of any size; if none, of any subject."""
    if like.items_total is not None:
        rows = _rows(connection, like, of_subject=True, of_size=True)
        if len(rows) >= LEAST_OF_SIZE:
            return _similar("same_size", rows, None)
    rows = _rows(connection, like, of_subject=True, of_size=False)
    if rows:
        return _similar("scaled", rows, like)
    rows = _rows(connection, like, of_subject=False, of_size=False)
    return _similar("workload_scaled", rows, like) if rows else SimilarJobs("none")


def find_duplicate(
    connection: sqlite3.Connection, job_id: str, tenant: str, content_hash: str, accepted_at: int
) -> str | None:
    """Another job of the tenant with the same content: a running one, else the last that completed within a day."""
    same = {"content_hash": content_hash, "tenant": tenant, "job_id": job_id, "now": accepted_at}
    found = (
        connection.execute(
            "SELECT job_id FROM jobs WHERE content_hash = :content_hash AND tenant = :tenant AND ended_at IS NULL"
            " AND accepted_at BETWEEN :earliest + 1 AND :now AND job_id != :job_id"
            " ORDER BY accepted_at, job_id LIMIT 1",
            same | {"earliest": accepted_at - _LIVE_MS},
        ).fetchone()
        or connection.execute(
            "SELECT job_id FROM jobs WHERE content_hash = :content_hash AND tenant = :tenant AND status = 'completed'"
            " AND ended_at > :earliest AND accepted_at <= :now AND job_id != :job_id"
            " ORDER BY ended_at DESC, job_id LIMIT 1",
            same | {"earliest": accepted_at - DUPLICATE_MS},
        ).fetchone()
    )
    return None if found is None else str(found[0])


_Row = tuple[int | None, int | None, int | None, int, int | None, int, int]


def _rows(connection: sqlite3.Connection, like: Likeness, *, of_subject: bool, of_size: bool) -> Sequence[_Row]:
    conditions = ["workload = :workload", "job_id != :job_id", "status = 'completed'"]
    if of_subject:
        conditions.append("subject = :subject")
    if of_size:
        conditions.append("items_total BETWEEN :least AND :most")
    size = like.items_total or 0
    return connection.execute(
        "SELECT items_total, routed_at, started_at, ended_at, cost_micros, items_measured, items_ms FROM jobs"  # noqa: S608 - constants
        f" WHERE {' AND '.join(conditions)} ORDER BY ended_at DESC, job_id LIMIT {MOST_SAMPLES}",
        {
            "workload": like.workload,
            "subject": like.subject,
            "job_id": like.job_id,
            "least": -(-size // SIZE_FACTOR),
            "most": size * SIZE_FACTOR,
        },
    ).fetchall()


def _similar(basis: Basis, rows: Sequence[_Row], scaled_to: Likeness | None) -> SimilarJobs:
    durations, costs, queues = [], [], []
    measured = measured_ms = 0
    for items_total, routed_at, started_at, ended_at, cost_micros, items, items_ms in rows:
        measured, measured_ms = measured + items, measured_ms + items_ms
        if routed_at is not None and started_at is not None:
            queues.append(max(0, started_at - routed_at) / 1000)
        scale = 1.0 if scaled_to is None else _scale(items_total, scaled_to.items_total)
        if scale is None:
            continue
        if started_at is not None:
            durations.append(scale * max(0, ended_at - started_at) / 1000)
        if cost_micros is not None:
            costs.append(scale * cost_micros / 1_000_000)
    item_seconds = measured_ms / measured / 1000 if measured else None
    return SimilarJobs(basis, tuple(durations), tuple(costs), tuple(queues), item_seconds)


def _scale(past: int | None, asked: int | None) -> float | None:
    """The factor from one job's duration to another's, by size; None if a size is not known."""
    return asked / past if past and asked else None
