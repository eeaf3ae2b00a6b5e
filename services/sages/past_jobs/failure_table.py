"""The table of ended jobs: which workload, and whether it failed; made of `jobs.done`."""

from __future__ import annotations

import sqlite3
from typing import Final

from eldermesh.contract.ends import JobEnd
from services.sages.past_jobs.failure_rate import FailureRate
from shared.consumer.record import ConsumedRecord

SCHEMA_VERSION: Final = 1
SCHEMA_SQL: Final = """
CREATE TABLE ends (
    job_id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    workload TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    has_failed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX ends_of_workload ON ends (tenant, workload, ended_at);
CREATE INDEX ends_by_time ON ends (ended_at);
"""
"""`ended_at` as the contract writes it, whose order is that of time."""

KEPT_ENDS: Final = 20_000
"""The newest so many are kept."""

COUNTED_ENDS: Final = 200
"""Of a workload the newest so many count, so that a workload that was mended is soon trusted again."""

_COUNTED = ("completed", "failed")


def apply_end(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
    """Take in one end. Jobs that were cancelled or rejected say nothing of their workload.

    Raises:
        pydantic.ValidationError: it is no end.
    """
    end = JobEnd.model_validate_json(record.value or b"")
    if end.status not in _COUNTED:
        return
    connection.execute(
        "INSERT INTO ends (job_id, tenant, workload, ended_at, has_failed) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (job_id) DO NOTHING",
        (
            end.job_id,
            end.tenant,
            end.workload,
            end.ended_at,
            int(end.status == "failed"),
        ),
    )


def prune(connection: sqlite3.Connection) -> None:
    """Forget all but the newest `KEPT_ENDS`."""
    connection.execute(
        "DELETE FROM ends WHERE ended_at < (SELECT ended_at FROM ends ORDER BY ended_at DESC LIMIT 1 OFFSET ?)",
        (KEPT_ENDS - 1,),
    )


def failure_rate(connection: sqlite3.Connection, tenant: str, workload: str) -> FailureRate | None:
    """Of a tenant's newest jobs of a workload; None without any."""
    failed, samples = connection.execute(
        "SELECT coalesce(sum(has_failed), 0), count(*) FROM (SELECT has_failed FROM ends"
        " WHERE tenant = ? AND workload = ? ORDER BY ended_at DESC LIMIT ?)",
        (tenant, workload, COUNTED_ENDS),
    ).fetchone()
    return FailureRate(failed, samples) if samples else None
