"""What the job history says of the time that items take, as Redis keeps it for the owners of all partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, get_args

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from eldermesh.contract.vocabulary import Engine
from services.router.jobs.observation import Kind, Observation
from services.router.policy.adaptive.item_cost import ItemCost
from shared.history.clock import Clock
from shared.history.keys import PartitionKeys
from shared.logs.exceptions import told
from shared.logs.setup import get_logger

NEWEST: Final = 64
"""Observations of a kind on an engine that count, of all partitions."""

_ENGINES: Final[Sequence[Engine]] = get_args(Engine)
_FRESH_SECONDS: Final = 0.5
_MOST_KINDS: Final = 2_000
_LOW: Final = 0.2

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a kind; of engines on which nothing of it has run, nothing.

    Attributes:
        costs: seconds of an item.
        waits: seconds from the claim of a chunk to the start of its first item: a low quantile, since some have a
            process to start.
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

    def item_seconds(self, kind: Kind | None, engine: Engine) -> float:
        """Seconds of an item as they were last read here; what is usual where they were not."""
        _, known = (0.0, Known()) if kind is None else self._read.get(kind, (0.0, Known()))
        return known.costs.get(engine, ItemCost()).seconds

    async def _observations(self, kind: Kind) -> dict[Engine, list[Observation]]:
        names = [kind.quantity(engine) for engine in _ENGINES]
        try:
            rows = await asyncio.gather(*(self._redis.hmget(keys.measurements, names) for keys in self._partitions))
        except ResponseError as error:  # it holds something else: jobs can do without
            _log.warning("what items took cannot be read", error=told(error))
            return {}
        return {engine: newest([row[place] for row in rows]) for place, engine in enumerate(_ENGINES)}


def newest(values: Iterable[Any]) -> list[Observation]:
    """The newest observations of several partitions, the oldest of them first."""
    observations = []
    for text in (text for value in values if value is not None for text in value.split()):
        with suppress(ValueError):  # not ours, or of another release: the others tell enough
            observations.append(Observation.parse(text.decode()))
    return sorted(observations, key=attrgetter("at_ms"))[-NEWEST:]


def known_of(observations: Mapping[Engine, Sequence[Observation]]) -> Known:
    """What follows from the observations of each engine, the oldest first. Pure."""
    seen = {engine: observed for engine, observed in observations.items() if observed}
    costs: dict[Engine, ItemCost] = {}
    for engine, observed in seen.items():
        cost = ItemCost()
        for each in observed:
            cost = cost.observed(each.item_seconds, each.spread)
        costs[engine] = cost
    waits = {
        engine: _low(known)
        for engine, observed in seen.items()
        if (known := [each.wait_seconds for each in observed if each.wait_seconds is not None])
    }
    last = max(seen, key=lambda engine: (seen[engine][-1].at_ms, engine), default=None)
    return Known(costs, waits, last)


def _low(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[int(_LOW * len(ordered))]
