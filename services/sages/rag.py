"""The sage `rag`: passages of indexed documents that match a job's prompts, with their places."""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue

from services.sages.memory.learning_sage import LearningSage
from services.sages.memory.table import Memory
from services.sages.passage_index import SCHEMA_SQL, SCHEMA_VERSION, apply, prune, search
from services.sages.sage import Question, fitting
from shared.kafka.topics import SAGES_DOCUMENTS
from shared.settings import Settings

MAX_PASSAGES: Final = 5


class RagSage(LearningSage):
    """Answers `{"passages": [{"text", "source", "title", "score", "citation"}]}`, best first.

    It searches for the job's first prompts, in documents of the job's tenant and of all tenants.
    """

    name = "rag"

    async def start(self, settings: Settings) -> None:
        """Begin to read `sages.documents`."""
        await self.remember(
            Memory(settings, self.name, [SAGES_DOCUMENTS], SCHEMA_SQL, SCHEMA_VERSION, apply, prune=prune)
        )

    async def advise(self, question: Question) -> dict[str, JsonValue]:
        """The passages; none if the job has no texts, or no indexed document matches them.

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
