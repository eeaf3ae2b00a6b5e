"""Sages of the tests, each with one way to behave; and the panel of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import uuid4

from pydantic import JsonValue

from services.sages.panel.panel import Panel
from services.sages.sage import MakeSage, Question
from shared.facts.jobs import JobTerms
from shared.settings import Settings


class PlayedSage:
    """Answers at once."""

    name = "played"
    is_warming = False

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def start(self, settings: Settings) -> None:
        """Nothing to open."""

    async def advise(self, question: Question) -> dict[str, JsonValue]:
        """Which job it was asked about."""
        return {"job_id": question.job_id, "texts": list(question.texts())}

    async def close(self) -> None:
        """Say so."""
        self.closed.set()


class SleepingSage(PlayedSage):
    """Never answers, and says when its work was cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = threading.Event()

    async def advise(self, question: Question) -> dict[str, JsonValue]:  # noqa: ARG002 - the interface is a sage\'s
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return {}


class BlockingSage(PlayedSage):
    """Blocks its own loop, as no sage should, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    async def advise(self, question: Question) -> dict[str, JsonValue]:  # noqa: ARG002 - the interface is a sage\'s
        """Hold the thread."""
        self.free.wait(60)
        return {}


class RaisingSage(PlayedSage):
    """Raises what nobody foresees."""

    async def advise(self, question: Question) -> dict[str, JsonValue]:
        """Quote the job in an error, as libraries do."""
        raise KeyError(question.texts())


class WarmingSage(PlayedSage):
    """Has not caught up."""

    is_warming = True


class VerboseSage(PlayedSage):
    """Says more than a sage may."""

    async def advise(self, question: Question) -> dict[str, JsonValue]:  # noqa: ARG002 - the interface is a sage\'s
        """Nine KiB."""
        return {"text": "x" * 9 * 1024}


class WrongSage(PlayedSage):
    """Says what is no JSON."""

    async def advise(self, question: Question) -> dict[str, JsonValue]:  # noqa: ARG002 - the interface is a sage\'s
        """A set."""
        return {"text": {1}}  # type: ignore[dict-item]


def question(*items: JsonValue, job_id: str | None = None, workload: str = "python", **fields: object) -> Question:
    """A question about a job of these items."""
    terms = JobTerms(workload=workload, tenant="default", expires_after_ms=1000, advise_within_ms=1000)
    values: dict[str, object] = {
        "tenant": "default",
        "options": {},
        "terms": terms,
        "items_total": len(items),
        "accepted_at": 10**13,
        "content_hash": "asked",
    } | fields
    return Question(job_id=job_id or str(uuid4()), workload=workload, items=items, **values)  # type: ignore[arg-type]


@asynccontextmanager
async def panel_of(sages: Mapping[str, MakeSage], settings: Settings) -> AsyncIterator[Panel]:
    """A panel that is closed afterwards."""
    panel = Panel(sages, settings)
    await panel.start()
    try:
        yield panel
    finally:
        await panel.close()
