"""The passages of all documents in SQLite, and the search for those that fit a text best."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from services.sages.memory.full_text import (
    MAX_TERMS,
    full_text_index_sql,
    identifier_parts,
    indexed_words,
    match_query,
    rarest,
    split_words,
    stems,
    terms,
)
from shared.consumer.record import ConsumedRecord
from shared.documents import Document, UnreadableDocumentError, decode_document

SCHEMA_VERSION: Final = 2
SCHEMA_SQL: Final = """
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, document_id TEXT NOT NULL, tenant TEXT, path TEXT NOT NULL, indexed_at INTEGER NOT NULL,
    first_line INTEGER NOT NULL, last_line INTEGER NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL,
    title_words TEXT NOT NULL, parts TEXT NOT NULL, words TEXT NOT NULL, stems TEXT NOT NULL
);
CREATE INDEX passages_of_document ON passages (document_id);
""" + full_text_index_sql("passage", "title_words", "parts", "words")

MAX_PASSAGES: Final = 50_000
"""Above it the documents that were indexed first are deleted."""

LEAST_SHARED_TERMS: Final = 2
LEAST_SHARED_PART: Final = 0.25
"""A passage must contain so many of the search words, or this part of them if that is fewer words."""

_CANDIDATES = 100
_RAREST = 24


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage and how well it fits; compare scores only within one answer."""

    path: str
    first_line: int
    last_line: int
    title: str
    text: str
    score: float

    @property
    def citation(self) -> str:
        """Its place: `path:first-last`."""
        return f"{self.path}:{self.first_line}-{self.last_line}"

    def as_json(self) -> dict[str, JsonValue]:
        """As it stands in the advice."""
        return {
            "text": self.text,
            "source": self.path,
            "title": self.title,
            "score": float(f"{self.score:.4g}"),
            "citation": self.citation,
        }


def apply(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
    """Apply a record of `sages.documents`: it replaces the document with its key, or removes it if there is no value.

    Raises:
        UnreadableDocumentError: it is not a document.
    """
    if record.key is None:
        raise UnreadableDocumentError("a document without a key")
    document = None if record.value is None else decode_document(record.value)
    put(connection, record.key.decode("utf-8", "replace"), document)


def put(connection: sqlite3.Connection, document_id: str, document: Document | None) -> None:
    """Replace a document, or remove it."""
    connection.execute("DELETE FROM passages WHERE document_id = ?", (document_id,))
    if document is None:
        return
    connection.executemany(
        "INSERT INTO passages (document_id, tenant, path, indexed_at, first_line, last_line, title, text,"
        " title_words, parts, words, stems) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                document_id,
                document.tenant,
                document.path,
                document.indexed_at,
                passage.first_line,
                passage.last_line,
                passage.title,
                passage.text,
                indexed_words(passage.title),
                identifier_parts(f"{passage.title} {passage.text}"),
                indexed_words(passage.text),
                " ".join(sorted(stems(split_words(f"{passage.title} {passage.text}")))),
            )
            for passage in document.passages
        ],
    )


def prune(connection: sqlite3.Connection, most: int = MAX_PASSAGES) -> None:
    """Delete the documents that were indexed first while there are more than `most` passages."""
    (left,) = connection.execute("SELECT count(*) FROM passages").fetchone()
    if left <= most:
        return
    oldest = connection.execute(
        "SELECT document_id, count(*) FROM passages GROUP BY document_id ORDER BY min(indexed_at), document_id"
    ).fetchall()
    for document_id, count in oldest:
        if left <= most:
            return
        put(connection, document_id, None)
        left -= count


def search(connection: sqlite3.Connection, texts: Sequence[str], tenant: str, *, limit: int) -> list[FoundPassage]:
    """At most `limit` passages that fit the texts best, best first; equal ones by path and line.

    The score is bm25, which favours rare words, times the share of the search words in the passage. Without the
    share, a short passage with one rare word would come before a passage about all words.
    """
    asked = terms(texts)[:MAX_TERMS]
    rare = rarest(connection, "passage_vocabulary", asked, limit=_RAREST)
    if not rare:
        return []
    rows = connection.execute(
        "SELECT path, first_line, last_line, passages.title, passages.text, -bm25(passage_words) AS score, stems"
        " FROM passage_words JOIN passages ON passages.id = passage_words.rowid"
        " WHERE passage_words MATCH ? AND (tenant IS NULL OR tenant = ?)"
        " ORDER BY score DESC, path, first_line LIMIT ?",
        (match_query(rare), tenant, max(_CANDIDATES, limit)),
    )
    asked_stems = stems(asked)
    least = min(LEAST_SHARED_TERMS, max(1, math.ceil(LEAST_SHARED_PART * len(asked_stems))))
    found: list[FoundPassage] = []
    for path, first_line, last_line, title, text, score, passage_stems in rows:
        shared = len(asked_stems.intersection(passage_stems.split()))
        if shared >= least:
            relative = score * shared / len(asked_stems)
            found.append(FoundPassage(path, first_line, last_line, title, text, relative))
    return sorted(found, key=lambda each: (-each.score, each.path, each.first_line))[:limit]
