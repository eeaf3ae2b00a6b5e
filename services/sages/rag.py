"""The sage `rag`: passages of indexed documents that a job's prompts speak of, with their places."""

from __future__ import annotations

from typing import Final

import orjson
from pydantic import JsonValue

from services.sages.memory.sage import LearningSage
from services.sages.memory.table import Memory
from services.sages.passage_index import SCHEMA_SQL, SCHEMA_VERSION, FoundPassage, apply, prune, search
from services.sages.sage import Question
from shared.kafka.topics import SAGES_DOCUMENTS
from shared.settings import Settings

MAX_PASSAGES: Final = 5
MAX_BYTES: Final = 7 * 1024
"""Of all passages together, as JSON; below what a sage may say."""


class RagSage(LearningSage):
    """Answers `{"passages": [{"text", "source", "title", "score", "citation"}]}`, best first.

    What is asked is made of the job's first prompts. Only documents of the job's tenant, or of all, are looked at.
    """

    name = "rag"

    async def start(self, settings: Settings) -> None:
        """Begin to read `sages.documents`."""
        await self.remember(
            Memory(settings, self.name, [SAGES_DOCUMENTS], SCHEMA_SQL, SCHEMA_VERSION, apply, prune=prune)
        )

    async def advise(self, question: Question) -> dict[str, JsonValue]:
        """The passages; none where the job has no texts, or nothing that is indexed speaks of them.

        Raises:
            RetryableError: the memory is not open.
            sqlite3.Error: it cannot be read.
        """
        texts = question.texts()
        if self.memory is None or not texts:
            return {"passages": []}
        found = await self.memory.query(
            lambda connection: search(connection, texts, question.tenant, limit=MAX_PASSAGES)
        )
        return {"passages": fitting(found)}


def fitting(found: list[FoundPassage], most_bytes: int = MAX_BYTES) -> list[JsonValue]:
    """As many of the first passages as fit."""
    passages: list[JsonValue] = []
    left = most_bytes
    for each in found:
        passage: dict[str, JsonValue] = {
            "text": each.text,
            "source": each.path,
            "title": each.title,
            "score": float(f"{each.score:.4g}"),
            "citation": each.citation,
        }
        left -= len(orjson.dumps(passage))
        if left < 0:
            break
        passages.append(passage)
    return passages
