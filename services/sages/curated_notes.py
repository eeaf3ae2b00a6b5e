"""Curated notes from `sages.notes` in SQLite, and the search for those about a job's subject."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from services.sages.memory.full_text import (
    MAX_TERMS,
    full_text_index_sql,
    indexed_words,
    match_query,
    rarest,
    split_words,
    stems,
    terms,
)
from services.sages.past_jobs.likeness_table import subject_of
from services.sages.sage import Question
from shared.consumer.record import ConsumedRecord
from shared.documents import UnreadableDocumentError, decode_note
from shared.text.secret_masks import masked

SCHEMA_SQL: Final = """
CREATE TABLE notes (
    id INTEGER PRIMARY KEY, note_id TEXT NOT NULL UNIQUE, workload TEXT, tenant TEXT, added_at INTEGER NOT NULL,
    text TEXT NOT NULL, words TEXT NOT NULL
);
""" + full_text_index_sql("note", "words")

LEAST_SHARED_WORDS: Final = 2
"""A note must share so many words with a job; one is enough if the note names the job's workload."""

MAX_NOTES: Final = 10_000
"""Above it the oldest are deleted."""

_CANDIDATES = 50
_RAREST = 24


@dataclass(frozen=True, slots=True)
class FittingNote:
    """A note about a job's subject; `shared` is the number of words they share."""

    note_id: str
    text: str
    shared: int


def apply(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
    """Apply a record of `sages.notes`: it replaces the note with its key, or removes it if the record has no value.

    Raises:
        UnreadableDocumentError: it is not a note.
    """
    if record.key is None:
        raise UnreadableDocumentError("a note without a key")
    note_id = record.key.decode("utf-8", "replace")
    note = None if record.value is None else decode_note(record.value)
    connection.execute("DELETE FROM notes WHERE note_id = ?", (note_id,))
    if note is not None:
        text = masked(note.text)
        connection.execute(
            "INSERT INTO notes (note_id, workload, tenant, added_at, text, words) VALUES (?, ?, ?, ?, ?, ?)",
            (note_id, note.workload, note.tenant, note.added_at, text, indexed_words(text)),
        )


def prune(connection: sqlite3.Connection, most: int = MAX_NOTES) -> None:
    """Delete the oldest notes beyond `most`."""
    connection.execute(
        "DELETE FROM notes WHERE id IN (SELECT id FROM notes ORDER BY added_at DESC, note_id DESC LIMIT -1 OFFSET ?)",
        (most,),
    )


def fitting_notes(connection: sqlite3.Connection, question: Question) -> list[FittingNote]:
    """The notes for this workload and tenant about the job's subject, best first."""
    asked = terms([question.workload, subject_of(question)])
    rare = rarest(connection, "note_vocabulary", asked[:MAX_TERMS], limit=_RAREST)
    if not rare:
        return []
    rows = connection.execute(
        "SELECT note_id, workload, notes.text FROM note_words JOIN notes ON notes.id = note_words.rowid"
        " WHERE note_words MATCH ? AND (workload IS NULL OR workload = ?) AND (tenant IS NULL OR tenant = ?)"
        " ORDER BY bm25(note_words), note_id LIMIT ?",
        (match_query(rare), question.workload, question.tenant, _CANDIDATES),
    )
    mine = stems(asked)
    found: list[FittingNote] = []
    for note_id, workload, text in rows:
        shared = len(mine & stems(split_words(text)))
        if shared >= (LEAST_SHARED_WORDS if workload is None else 1):
            found.append(FittingNote(note_id, text, shared))
    return sorted(found, key=lambda each: (-each.shared, each.note_id))
