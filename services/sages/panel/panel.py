"""The panel: asks all sages at once, each with a time limit, and returns an entry for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import orjson
from opentelemetry import metrics
from pydantic import JsonValue

from services.sages.panel.sage_thread import SageThread
from services.sages.sage import MAX_ADVICE_BYTES, MakeSage, Question
from shared.facts.jobs import AdviceEntry
from shared.logs.setup import get_logger
from shared.settings import Settings
from shared.telemetry import metric_names, names
from shared.telemetry.spans import fail_span, span

MAX_ENTRIES_BYTES: Final = 32 * 1024
"""Of all entries together, as JSON; bounds facts and prompts."""

Status = Literal["ok", "late", "failed", "warming"]

_log = get_logger(__name__)
_duration = metrics.get_meter("eldermesh").create_histogram(
    metric_names.SAGE_DURATION.name, metric_names.SAGE_DURATION.unit, metric_names.SAGE_DURATION.meaning
)


class Panel:
    """All sages.

    Args:
        sages: their constructors, by name.
        settings: the time limit of each; passed on to the sages.
    """

    def __init__(self, sages: Mapping[str, MakeSage], settings: Settings) -> None:
        self._seconds = settings.sage_seconds
        self._sages = [SageThread(name, make, settings) for name, make in sages.items()]
        self._told: dict[str, Status] = {}

    async def start(self) -> None:
        """Start all; returns at once, while they are warming."""
        for sage in self._sages:
            sage.start()

    async def close(self) -> None:
        """Close all, each with a time limit."""
        await asyncio.gather(*(sage.close() for sage in self._sages))

    async def ask(self, question: Question) -> tuple[AdviceEntry, ...]:
        """An entry for each sage, in the order of names. Never raises."""
        entries = await asyncio.gather(*(self._ask(sage, question) for sage in self._sages))
        return fitting(entries)

    async def _ask(self, sage: SageThread, question: Question) -> AdviceEntry:
        began = time.perf_counter()
        with span(names.ASK_SAGE, attributes={names.SAGE: sage.name}) as asking:
            status, advice, why = await self._answer(sage, question)
            asking.set_attribute(names.SAGE_STATUS, status)
            if status in ("late", "failed"):
                fail_span(asking, why)
        _duration.record(time.perf_counter() - began, {names.SAGE: sage.name, names.SAGE_STATUS: status})
        self._tell(sage.name, status, why)
        return AdviceEntry(sage=sage.name, status=status, advice=advice)

    async def _answer(self, sage: SageThread, question: Question) -> tuple[Status, dict[str, JsonValue], str]:
        """Status, advice, and why it is not `ok`; of an error only its class, because messages may quote the job."""
        scope = asyncio.timeout(self._seconds)
        try:
            if sage.is_warming:
                return "warming", {}, "its memory has not caught up"
            async with scope:
                return "ok", _checked(await sage.ask(question)), ""
        except Exception as error:  # noqa: BLE001 - a sage may raise anything, and must not affect the others
            if scope.expired():
                return "late", {}, f"no answer within {self._seconds:g} s"
            return "failed", {}, type(error).__name__

    def _tell(self, name: str, status: Status, why: str) -> None:
        """Log when a sage's status changes, not at each job."""
        if self._told.get(name) != status:
            self._told[name] = status
            (_log.warning if status in ("late", "failed") else _log.info)(
                "sage answers otherwise than before", sage=name, status=status, why=why
            )


class OversizedAdviceError(ValueError):
    """The advice is larger than `MAX_ADVICE_BYTES`."""


def _checked(advice: object) -> dict[str, JsonValue]:
    """The advice after a round trip through JSON.

    Raises:
        TypeError: it is not an object, or not JSON.
        OversizedAdviceError: it is too large.
    """
    if not isinstance(advice, dict):
        raise TypeError("advice is an object")
    encoded = orjson.dumps(advice)
    if len(encoded) > MAX_ADVICE_BYTES:
        raise OversizedAdviceError(f"{len(encoded)} bytes")
    decoded: dict[str, JsonValue] = orjson.loads(encoded)
    return decoded


def fitting(entries: Sequence[AdviceEntry]) -> tuple[AdviceEntry, ...]:
    """The entries; the largest are replaced by `failed` ones until all together fit."""
    fitted = list(entries)
    sizes = [len(entry.model_dump_json().encode()) for entry in fitted]
    while sum(sizes) > MAX_ENTRIES_BYTES:
        largest = sizes.index(max(sizes))
        fitted[largest] = AdviceEntry(sage=fitted[largest].sage, status="failed")
        sizes[largest] = len(fitted[largest].model_dump_json().encode())
    return tuple(fitted)
