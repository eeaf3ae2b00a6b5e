"""The table of past jobs: a row for each job, from the facts of its history."""

from __future__ import annotations

import sqlite3
from typing import Final

import orjson

from services.sages.panel.advisor import question_of
from shared.consumer.record import ConsumedRecord
from shared.facts.fact import FACT_TYPE_HEADER
from shared.facts.jobs import ItemsCompleted, JobAccepted, JobEnded, JobRouted, decode_job_fact
from shared.job_subject import job_subject

SCHEMA_VERSION: Final = 2
SCHEMA_SQL: Final = """
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    workload TEXT NOT NULL,
    subject TEXT NOT NULL,
    items_total INTEGER,
    content_hash TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    engine TEXT,
    routed_at INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    status TEXT,
    cost_micros INTEGER,
    items_measured INTEGER NOT NULL DEFAULT 0,
    items_ms INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX jobs_like ON jobs (
    workload, subject, ended_at DESC, job_id,
    items_total, routed_at, started_at, cost_micros, items_measured, items_ms, status
) WHERE status = 'completed';
CREATE INDEX jobs_running ON jobs (content_hash, tenant, accepted_at) WHERE ended_at IS NULL;
CREATE INDEX jobs_completed ON jobs (content_hash, tenant, ended_at DESC) WHERE status = 'completed';
CREATE INDEX jobs_accepted ON jobs (accepted_at);
"""
"""Times are milliseconds since 1970, costs micro-dollars; `items_ms` is the total time of `items_measured` items.

A question about one subject, or about duplicates, stops in its index at the first rows that it wants, however many jobs
are alike. `jobs_like` has all columns that an estimate reads; of a whole workload it sorts all kept jobs.
"""

KEPT_JOBS: Final = 20_000
"""The number of newest jobs that are kept."""

_LEARNED: Final = {fact.fact_type for fact in (JobAccepted, JobRouted, ItemsCompleted, JobEnded)}


def apply_fact(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
    """Store what a fact says about times and costs; facts of other types are skipped without decoding.

    Raises:
        UnreadableFactError: it is no fact.
    """
    fact_type = record.header(FACT_TYPE_HEADER) or ""
    if fact_type not in _LEARNED:
        return
    job_id, at = (record.key or b"").decode("utf-8", "replace"), record.timestamp_ms
    match decode_job_fact(fact_type, record.value or b""):
        case JobAccepted() as fact:
            _accept(connection, job_id, at, fact)
        case JobRouted() as fact:
            connection.execute(
                "UPDATE jobs SET engine = ?, routed_at = ? WHERE job_id = ? AND routed_at IS NULL",
                (fact.engine, at, job_id),
            )
        case ItemsCompleted() as fact:
            _complete(connection, job_id, fact)
        case JobEnded() as fact:
            _end(connection, job_id, fact)


def prune(connection: sqlite3.Connection) -> None:
    """Delete all but the newest `KEPT_JOBS`."""
    connection.execute(
        "DELETE FROM jobs WHERE accepted_at <"
        " (SELECT accepted_at FROM jobs ORDER BY accepted_at DESC LIMIT 1 OFFSET ?)",
        (KEPT_JOBS - 1,),
    )


def _accept(connection: sqlite3.Connection, job_id: str, at: int, fact: JobAccepted) -> None:
    question = question_of(fact, job_id, at)
    # The first acceptance makes the job; a later one is a repeat or a conflict.
    connection.execute(
        "INSERT INTO jobs (job_id, tenant, workload, subject, items_total, content_hash, accepted_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job_id) DO NOTHING",
        (
            job_id,
            question.tenant,
            question.workload,
            job_subject(question.options),
            question.items_total,
            question.content_hash,
            at,
        ),
    )


def _complete(connection: sqlite3.Connection, job_id: str, fact: ItemsCompleted) -> None:
    measured = [result.duration_ms for result in fact.results if result.duration_ms is not None]
    connection.execute(
        "UPDATE jobs SET items_measured = items_measured + ?, items_ms = items_ms + ? WHERE job_id = ?",
        (len(measured), sum(measured), job_id),
    )
    if fact.times is not None:
        connection.execute(
            "UPDATE jobs SET started_at = min(coalesce(started_at, ?1), ?1) WHERE job_id = ?2",
            (fact.times.started_at, job_id),
        )


def _end(connection: sqlite3.Connection, job_id: str, fact: JobEnded) -> None:
    end = orjson.loads(fact.end)
    cost_usd = end.get("cost_usd")
    connection.execute(
        "UPDATE jobs SET ended_at = ?, status = ?, cost_micros = ? WHERE job_id = ? AND ended_at IS NULL",
        (fact.ended_at, end["status"], None if cost_usd is None else round(cost_usd * 1_000_000), job_id),
    )
