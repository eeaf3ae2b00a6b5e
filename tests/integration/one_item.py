"""One item, called in an item host."""

from __future__ import annotations

import math
from contextlib import aclosing

from pydantic import JsonValue

from services.router.engines.python.item_process import ItemProcess
from shared.workloads import ItemOutcome


async def call(host: ItemProcess, function: str, item: JsonValue, *, timeout_seconds: float) -> ItemOutcome:
    """Its outcome."""
    outcomes: list[ItemOutcome] = []
    given = host.slice(function, [item], timeout_seconds=timeout_seconds, before=lambda: math.inf)
    async with aclosing(given):
        async for some in given:
            outcomes += [outcome for _, outcome in some]
    (outcome,) = outcomes
    return outcome
