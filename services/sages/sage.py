"""What a sage is, and what it is asked: a sage advises on one job before it runs.

A sage is a class that an entry point of the group `eldermesh.sages` names. `services.sages.memory.table` has a memory
for sages that learn from topics. Advice is an object of short texts and numbers, at most `MAX_ADVICE_BYTES` as JSON;
it never quotes a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol

import orjson
from pydantic import JsonValue

from shared.facts.jobs import JobTerms
from shared.settings import Settings

SAGES_GROUP: Final = "eldermesh.sages"
"""The group of entry points."""

MAX_ADVICE_BYTES: Final = 8 * 1024
"""A sage whose advice is larger has failed."""

MAX_LIST_BYTES: Final = 7 * 1024
"""Of the lessons or passages in an advice, as JSON; leaves room for the rest of the advice."""


@dataclass(frozen=True, slots=True)
class Question:
    """A job, as a sage is asked about it.

    `items` is empty if the job only refers to its items, and `items_total` is None while they are not counted.
    `accepted_at` is in milliseconds since 1970. `repr` never shows items and options.
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
        """The first `limit` prompts among the items: items that are a text, or have one as `prompt`."""
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
        """Open the memory, begin to read, and return at once; `is_warming` until the memory has caught up."""
        ...

    @property
    def is_warming(self) -> bool:
        """Whether the memory has not caught up yet; the panel does not ask while it is true."""
        ...

    async def advise(self, question: Question) -> dict[str, JsonValue]:
        """The advice.

        If this raises, the sage has failed for this job. The panel cancels it when its time is up; work that blocks
        belongs on a thread (`Memory.query` has one).
        """
        ...

    async def close(self) -> None:
        """Stop reading and close the memory."""
        ...


MakeSage = Callable[[], Sage]


def installed_sages() -> Mapping[str, MakeSage]:
    """A constructor for each installed sage, by the entry point's name, in the order of names; imports nothing yet."""
    entries = sorted(entry_points(group=SAGES_GROUP), key=lambda entry: entry.name)
    return {entry.name: _maker(entry) for entry in entries}


def _maker(entry: EntryPoint) -> MakeSage:
    def make() -> Sage:
        sage: Sage = entry.load()()
        if sage.name != entry.name:
            raise ValueError(f"the sage of the entry point {entry.name!r} calls itself {sage.name!r}")
        return sage

    return make


class AdviceItem(Protocol):
    """A lesson or a passage."""

    def as_json(self) -> dict[str, JsonValue]:
        """As it stands in the advice."""
        ...


def fitting(found: Iterable[AdviceItem], most_bytes: int = MAX_LIST_BYTES) -> list[JsonValue]:
    """The first of these that together take at most `most_bytes` as JSON."""
    fitted: list[JsonValue] = []
    for item in found:
        encoded = item.as_json()
        most_bytes -= len(orjson.dumps(encoded))
        if most_bytes < 0:
            break
        fitted.append(encoded)
    return fitted
