"""The sage `knowledge`: lessons from similar jobs and from notes of people."""

from __future__ import annotations

import sqlite3
from typing import Final

from pydantic import JsonValue

from services.sages import curated_notes
from services.sages.lessons import Lesson, lessons_of
from services.sages.memory.learning_sage import LearningSage
from services.sages.memory.table import Memory
from services.sages.past_jobs import likeness_table
from services.sages.sage import Question, fitting
from shared.consumer.record import ConsumedRecord
from shared.kafka.topics import JOBS_HISTORY, SAGES_NOTES
from shared.settings import Settings

SCHEMA_VERSION: Final = 3


class KnowledgeSage(LearningSage):
    """Answers `{"lessons": [{"text", "source", "confidence"}]}`: at most five, those that warn first.

    It learns from every job that ends. A job gets lessons only from jobs of its own tenant and workload.
    """

    name = "knowledge"

    async def start(self, settings: Settings) -> None:
        """Begin to read `jobs.history` and `sages.notes`."""
        schema = likeness_table.SCHEMA_SQL + curated_notes.SCHEMA_SQL
        topics = [JOBS_HISTORY, SAGES_NOTES]
        await self.remember(Memory(settings, self.name, topics, schema, SCHEMA_VERSION, _apply, prune=_prune))

    async def advise(self, question: Question) -> dict[str, JsonValue]:
        """The lessons; none if no past job and no note is about the same subject.

        Raises:
            RetryableError: the memory is not open.
            sqlite3.Error: it cannot be read.
        """
        if self.memory is None:
            return {"lessons": []}
        return {"lessons": fitting(await self.memory.query(lambda connection: _lessons(connection, question)))}


def _apply(connection: sqlite3.Connection, record: ConsumedRecord) -> None:
    (curated_notes if record.inbox == SAGES_NOTES else likeness_table).apply(connection, record)


def _prune(connection: sqlite3.Connection) -> None:
    likeness_table.prune(connection)
    curated_notes.prune(connection)


def _lessons(connection: sqlite3.Connection, question: Question) -> list[Lesson]:
    like = likeness_table.like_jobs(connection, question)
    return lessons_of(question.workload, like, curated_notes.fitting_notes(connection, question))
