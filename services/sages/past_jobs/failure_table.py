"""The ends of jobs from `jobs.done`, and how often the jobs of a workload failed."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from math import sqrt
from typing import Final

from pydantic import JsonValue

from eldermesh.contract.ends import JobEnd
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
"""`ended_at` is text in the contract's format, which sorts by time."""

KEPT_ENDS: Final = 20_000
"""The number of newest ends that are kept."""

COUNTED_ENDS: Final = 200
"""The number of a workload's newest ends that count, so that a repaired workload is soon trusted again."""

Z: Final = 1.959964
"""Of a two-sided interval of 95 %."""

_DIGITS = 4
_COUNTED = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class FailureRate:
    """`failed` of `samples`; there is at least one sample."""

    failed: int
    samples: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval at 95 %.

        E. B. Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 22 (1927); Brown, Cai
        and DasGupta recommend it for few samples, *Interval Estimation for a Binomial Proportion*, Statistical Science
        16 (2001).
        """
        n, rate = self.samples, self.failed / self.samples
        centre = rate + Z * Z / (2 * n)
        spread = Z * sqrt(rate * (1 - rate) / n + Z * Z / (4 * n * n))
        scale = 1 + Z * Z / n
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)

    def as_json(self) -> dict[str, JsonValue]:
        """As it stands in an advice."""
        low, high = self.interval
        return {
            "rate": round(self.failed / self.samples, _DIGITS),
            "low": round(low, _DIGITS),
            "high": round(high, _DIGITS),
            "samples": self.samples,
        }


def apply_end(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
    """Store an end. Jobs that were cancelled or rejected say nothing about their workload.

    Raises:
        pydantic.ValidationError: it is no end.
    """
    end = JobEnd.model_validate_json(record.value or b"")
    if end.status not in _COUNTED:
        return
    connection.execute(
        "INSERT INTO ends (job_id, tenant, workload, ended_at, has_failed) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (job_id) DO NOTHING",
        (end.job_id, end.tenant, end.workload, end.ended_at, int(end.status == "failed")),
    )


def prune(connection: sqlite3.Connection) -> None:
    """Delete all but the newest `KEPT_ENDS`."""
    connection.execute(
        "DELETE FROM ends WHERE ended_at < (SELECT ended_at FROM ends ORDER BY ended_at DESC LIMIT 1 OFFSET ?)",
        (KEPT_ENDS - 1,),
    )


def failure_rate(connection: sqlite3.Connection, tenant: str, workload: str) -> FailureRate | None:
    """The failure rate of a tenant's newest jobs of a workload; None if there are none."""
    failed, samples = connection.execute(
        "SELECT coalesce(sum(has_failed), 0), count(*) FROM (SELECT has_failed FROM ends"
        " WHERE tenant = ? AND workload = ? ORDER BY ended_at DESC LIMIT ?)",
        (tenant, workload, COUNTED_ENDS),
    ).fetchone()
    return FailureRate(failed, samples) if samples else None
