"""Past jobs and their ends from `jobs.history` in SQLite, and the search for those that are like a new job.

Of a job's texts only the beginnings of their words are kept, each once, without secrets: enough to compare jobs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson
from pydantic import JsonValue

from services.sages.memory.full_text import (
    MAX_TERMS,
    full_text_index_sql,
    likeness,
    match_query,
    rarest,
    stemmed,
    terms,
)
from services.sages.panel.advisor import question_of
from services.sages.sage import Question
from shared.consumer.record import ConsumedRecord
from shared.facts.fact import FACT_TYPE_HEADER
from shared.facts.jobs import ItemsCompleted, JobAccepted, JobEnded, decode_job_fact
from shared.text.secret_masks import excerpt, masked

SCHEMA_SQL: Final = """
CREATE TABLE subjects (
    id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, workload TEXT NOT NULL, digest BLOB NOT NULL, stems TEXT NOT NULL,
    UNIQUE (digest, tenant, workload)
);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, subject INTEGER NOT NULL, accepted_at INTEGER NOT NULL,
    status TEXT, error_type TEXT, reason TEXT, active_seconds REAL, item_error TEXT, item_message TEXT
);
CREATE INDEX jobs_by_time ON jobs (accepted_at);
CREATE INDEX jobs_of_subject ON jobs (subject);
CREATE INDEX jobs_ended ON jobs (subject, accepted_at DESC, job_id) WHERE status IS NOT NULL;
""" + full_text_index_sql("subject", "stems")
"""Many jobs have one subject: it is indexed, searched for and compared once, however many they are.

`digest` is of the stems, which are long.
"""

MAX_JOBS: Final = 20_000
"""Above it the jobs that were accepted first are deleted."""

LEAST_LIKENESS: Final = 0.4
"""Below it two jobs have different subjects."""

MAX_LIKE_JOBS: Final = 50
"""So many are taken, of so many subjects at most: the newest jobs of the subjects that match best."""

MAX_STEMS: Final = 300
"""The number of stems that are kept of a job."""

_RAREST = 12
_PROMPT_CHARACTERS = 2000
_OPTION_CHARACTERS = 200
_MESSAGE_CHARACTERS = 160
_REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class LikeJob:
    """A past job that is like the new one, and how it ended. `likeness` is above 0, at most 1."""

    job_id: str
    likeness: float
    status: str
    error_type: str | None
    reason: str | None
    active_seconds: float | None
    item_error: str | None
    item_message: str | None


def subject_of(question: Question) -> str:
    """A job's subject: the beginnings of its first prompts and of its text options, with secrets masked."""
    texts = [text[:_PROMPT_CHARACTERS] for text in question.texts()]
    options = [
        f"{name}: {value[:_OPTION_CHARACTERS]}" for name, value in question.options.items() if isinstance(value, str)
    ]
    return masked("\n".join([*options, *texts]))


def subject_stems(question: Question) -> list[str]:
    """The stems of the subject's words, the most frequent first."""
    return stemmed(terms([subject_of(question)]))[:MAX_STEMS]


def apply(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
    """Apply a fact; facts that say nothing about a job's outcome are skipped.

    Raises:
        UnreadableFactError: it is not a fact.
    """
    fact_type = record.header(FACT_TYPE_HEADER) or ""
    if fact_type not in _LEARNT or record.key is None or record.value is None:
        return
    # Most results have no failure: skip them without decoding.
    if fact_type == ItemsCompleted.fact_type and b'"failed"' not in record.value:
        return
    fact = decode_job_fact(fact_type, record.value)
    job_id = record.key.decode("utf-8", "replace")
    if isinstance(fact, JobAccepted):
        _accept(connection, fact, job_id, record.timestamp_ms)
    elif isinstance(fact, ItemsCompleted):
        _note_failure(connection, fact, job_id)
    elif isinstance(fact, JobEnded):
        _end(connection, fact, job_id)


_LEARNT = frozenset(fact.fact_type for fact in (JobAccepted, ItemsCompleted, JobEnded))


def prune(connection: sqlite3.Connection, most: int = MAX_JOBS) -> None:
    """Delete the jobs that were accepted first, beyond `most`."""
    connection.execute(
        "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs ORDER BY accepted_at DESC, job_id DESC LIMIT -1 OFFSET ?)",
        (most,),
    )
    connection.execute("DELETE FROM subjects WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE subject = subjects.id)")


def like_jobs(connection: sqlite3.Connection, question: Question) -> list[LikeJob]:
    """The ended jobs of the same tenant and workload with a similar subject, the most similar first.

    Likeness is Dice's coefficient of the stems of the two subjects.
    """
    asked = subject_stems(question)
    rare = rarest(connection, "subject_vocabulary", asked[:MAX_TERMS], limit=_RAREST)
    if not rare:
        return []
    subjects = connection.execute(
        "SELECT subjects.id, subjects.stems, (SELECT accepted_at FROM jobs WHERE subject = subjects.id"
        "   AND status IS NOT NULL AND job_id != ? ORDER BY accepted_at DESC LIMIT 1) AS newest"
        " FROM subject_words JOIN subjects ON subjects.id = subject_words.rowid"
        " WHERE subject_words MATCH ? AND tenant = ? AND workload = ? AND newest IS NOT NULL"
        " ORDER BY bm25(subject_words), newest DESC LIMIT ?",
        (question.job_id, match_query(rare), question.tenant, question.workload, MAX_LIKE_JOBS),
    )
    mine, left = frozenset(asked), MAX_LIKE_JOBS
    found: list[LikeJob] = []
    for subject, words, _ in subjects:
        if not left:
            break
        rows = connection.execute(
            "SELECT job_id, status, error_type, reason, active_seconds, item_error, item_message FROM jobs"
            " WHERE subject = ? AND status IS NOT NULL AND job_id != ? ORDER BY accepted_at DESC, job_id LIMIT ?",
            (subject, question.job_id, left),
        ).fetchall()
        left -= len(rows)
        alike = likeness(mine, frozenset(words.split()))
        if alike >= LEAST_LIKENESS:
            found += [LikeJob(job_id, alike, *rest) for job_id, *rest in rows]
    return sorted(found, key=lambda each: (-each.likeness, each.job_id))


def _accept(connection: sqlite3.Connection, fact: JobAccepted, job_id: str, accepted_at: int) -> None:
    question = question_of(fact, job_id, accepted_at)
    stems = " ".join(subject_stems(question))
    subject = (
        blake2b(stems.encode("utf-8", "surrogatepass"), digest_size=16).digest(),
        question.tenant,
        question.workload,
    )
    connection.execute(
        "INSERT INTO subjects (digest, tenant, workload, stems) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (*subject, stems),
    )
    connection.execute(
        "INSERT INTO jobs (job_id, subject, accepted_at)"
        " SELECT ?, id, ? FROM subjects WHERE digest = ? AND tenant = ? AND workload = ?"
        " ON CONFLICT (job_id) DO NOTHING",  # the first acceptance of an id makes the job
        (job_id, accepted_at, *subject),
    )


def _note_failure(connection: sqlite3.Connection, fact: ItemsCompleted, job_id: str) -> None:
    """Keep the first failure of an item; later ones in a job are often the same."""
    for result in fact.results:
        if result.status == "failed":
            message = None if result.error_message is None else excerpt(result.error_message, _MESSAGE_CHARACTERS)
            connection.execute(
                "UPDATE jobs SET item_error = ?, item_message = ? WHERE job_id = ? AND item_error IS NULL",
                (result.error_type or "exception", message, job_id),
            )
            return


def _end(connection: sqlite3.Connection, fact: JobEnded, job_id: str) -> None:
    end = orjson.loads(fact.end)
    content: Mapping[str, JsonValue] = end if isinstance(end, dict) else {}
    reason, seconds = content.get("reason"), content.get("active_seconds")
    connection.execute(
        "UPDATE jobs SET status = ?, error_type = ?, reason = ?, active_seconds = ? WHERE job_id = ?",
        (
            _text(content.get("status")) or "ended",
            _text(content.get("error_type")),
            excerpt(reason, _REASON_CHARACTERS) if isinstance(reason, str) else None,
            seconds if isinstance(seconds, int | float) else None,
            job_id,
        ),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
