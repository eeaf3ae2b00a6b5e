"""What the job history says of the time that items take, as Redis keeps it for the owners of all partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, get_args

from redis.asyncio import Redis

from eldermesh.contract.vocabulary import Engine
from services.router.jobs.observation import Kind, Observation
from services.router.policy.adaptive.item_cost import ItemCost
from shared.history.clock import Clock
from shared.history.keys import PartitionKeys

NEWEST: Final = 64
"""Observations of a kind on an engine that count, of all partitions."""

_ENGINES: Final[Sequence[Engine]] = get_args(Engine)
_FRESH_SECONDS: Final = 0.5
_MOST_KINDS: Final = 2_000
_LOW: Final = 0.2


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a kind; of engines on which nothing of it has run, nothing.

    Attributes:
        costs: seconds of an item.
        waits: seconds from the dispatch of a chunk to the start of its first item, where it does not wait for others:
            a low quantile.
        last: the engine that ran it last.
    """

    costs: Mapping[Engine, ItemCost] = field(default_factory=dict)
    waits: Mapping[Engine, float] = field(default_factory=dict)
    last: Engine | None = None


class Evidence:
    """Reads what was observed; an answer is half a second old at the most.

    Args:
        redis: a client with `decode_responses=False`.
        partitions: the keys of all partitions, whoever owns them.
        clock: for the age of answers.
    """

    def __init__(self, redis: Redis, partitions: Sequence[PartitionKeys], clock: Clock) -> None:
        self._redis = redis
        self._partitions = partitions
        self._clock = clock
        self._read: dict[Kind, tuple[float, Known]] = {}

    async def of(self, kind: Kind) -> Known:
        """What is known of a kind, perhaps nothing.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        at, known = self._read.get(kind, (None, Known()))
        now = self._clock.monotonic()
        if at is None or now - at > _FRESH_SECONDS:
            known = known_of(await self._observations(kind))
            if len(self._read) >= _MOST_KINDS:
                self._read.clear()
            self._read[kind] = (now, known)
        return known

    def item_seconds(self, kind: Kind, engine: Engine) -> float:
        """Seconds of an item as they were last read here; what is usual where they were not."""
        return self._read.get(kind, (0.0, Known()))[1].costs.get(engine, ItemCost()).seconds

    async def _observations(self, kind: Kind) -> dict[Engine, list[Observation]]:
        names = [kind.quantity(engine) for engine in _ENGINES]
        rows = await asyncio.gather(*(self._redis.hmget(keys.measurements, names) for keys in self._partitions))
        return {engine: newest([row[place] for row in rows]) for place, engine in enumerate(_ENGINES)}


def newest(values: Iterable[Any]) -> list[Observation]:
    """The newest observations of several partitions, the oldest of them first."""
    texts = (text for value in values if value is not None for text in value.decode().split())
    return sorted(map(Observation.parse, texts), key=attrgetter("at_ms"))[-NEWEST:]


def known_of(observations: Mapping[Engine, Sequence[Observation]]) -> Known:
    """What follows from the observations of each engine, the oldest first. Pure."""
    seen = {engine: observed for engine, observed in observations.items() if observed}
    costs: dict[Engine, ItemCost] = {}
    for engine, observed in seen.items():
        cost = ItemCost()
        for each in observed:
            cost = cost.observed(each.item_seconds, each.spread)
        costs[engine] = cost
    waits = {engine: _low(each.wait_seconds for each in observed) for engine, observed in seen.items()}
    last = max(seen, key=lambda engine: (seen[engine][-1].at_ms, engine), default=None)
    return Known(costs, waits, last)


def _low(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[int(_LOW * len(ordered))]
