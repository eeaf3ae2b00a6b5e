"""What a sage is, and what it is asked: a sage advises on one job before it runs.

A sage is one class, named by an entry point of the group `eldermesh.sages`; the panel finds it there. Its memory is its
own (`services.sages.memory.table` keeps one for those that learn from topics). What it says is an object of short texts
and numbers, at most `MAX_ADVICE_BYTES` as JSON, and never quotes a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import JsonValue

from shared.facts.jobs import JobTerms
from shared.settings import Settings

SAGES_GROUP: Final = "eldermesh.sages"
"""The entry points' group."""

MAX_ADVICE_BYTES: Final = 8 * 1024
"""A sage whose advice is larger has failed."""


@dataclass(frozen=True, slots=True)
class Question:
    """A job, as a sage is asked about it.

    `items` is empty where the job's items are elsewhere (a reference), and `items_total` None where nobody has counted
    them yet. `accepted_at` is in milliseconds since 1970. `repr` never shows items and options.
    """

    job_id: str
    tenant: str
    workload: str
    items: tuple[JsonValue, ...]
    options: Mapping[str, JsonValue]
    terms: JobTerms
    items_total: int | None
    accepted_at: int
    content_hash: str

    def texts(self, limit: int = 8) -> tuple[str, ...]:
        """The prompts among the items, the first `limit` of them: items that are a text, or have one as `prompt`."""
        texts: list[str] = []
        for item in self.items:
            if len(texts) >= limit:
                break
            text = item.get("prompt") if isinstance(item, dict) else item
            if isinstance(text, str):
                texts.append(text)
        return tuple(texts)

    def __repr__(self) -> str:
        return f"Question({self.job_id}, {self.workload}, {self.items_total} items)"


class Sage(Protocol):
    """Advises on jobs."""

    name: str
    """As it stands in the advice, and in `MESH_DATA_DIR/sages/`."""

    async def start(self, settings: Settings) -> None:
        """Open the memory and begin to read; return at once, `is_warming` until the memory has caught up."""
        ...

    @property
    def is_warming(self) -> bool:
        """Whether the memory has not caught up yet: then nobody asks."""
        ...

    async def advise(self, question: Question) -> dict[str, JsonValue]:
        """The advice.

        Whatever this raises means that the sage has failed at this one job. The panel bounds its time by cancelling;
        work that blocks belongs on a thread (`Memory.query` has one).
        """
        ...

    async def close(self) -> None:
        """Stop reading and close the memory."""
        ...
