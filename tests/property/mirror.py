"""What Redis must hold at any moment: what a fold of the log up to `applied` makes, recomputed beside the owners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from services.router.jobs.machine import JobMachine
from services.router.jobs.state import JobState
from shared.history.chunk_id import ChunkId
from shared.history.item_bitmap import missing_items
from shared.history.keys import annex_field
from shared.history.log import record_hash
from shared.history.settled_state import unpacked
from tests.property.breach import Breach

if TYPE_CHECKING:
    from tests.property.memory_log import MemoryLog
    from tests.property.world_redis import WorldRedis

_BASE = "world_base"
"""A field of `meta` that only worlds write: the offset at which the fold began that Redis is the outcome of."""


@dataclass(slots=True)
class _Fold:
    """The log from `base` up to `position`."""

    base: int
    position: int
    states: dict[str, JobState] = field(default_factory=dict)
    specs: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Mirror:
    """Reads Redis beside the owners. `highest` is the highest `applied` that was ever written."""

    log: MemoryLog
    redis: WorldRedis
    highest: int = 0
    _fold: _Fold | None = None

    async def advanced(self, applied: int, began_at: int | None) -> None:
        """An owner has advanced; `began_at` is where it began to fold if Redis was empty before."""
        self.highest = max(self.highest, applied)
        if began_at is not None:
            with self.redis.pulse:
                await self.redis.client.hset(self.redis.keys.meta, _BASE, began_at)

    async def fits(self) -> bool:
        """Whether Redis has a place in the log as it is, behind the record that it remembers."""
        return self._fits(await self._meta())

    async def missing(self, chunk: ChunkId) -> tuple[int, ...] | None:
        """The items of a chunk that Redis' fold misses; None where Redis is of no fold of this log."""
        folded = self._folded(await self._meta())
        state = None if folded is None else folded.states.get(chunk.job_id)
        return None if state is None else missing_items(state.bitmap, chunk.first, chunk.last)

    async def live_chunks(self) -> set[str]:
        """The chunks that stand in a plan by Redis' fold, whether Redis says so or not."""
        folded = self._folded(await self._meta())
        return set() if folded is None else set(_current(folded.states))

    async def check(self) -> None:
        """Redis is as the fold is.

        Raises:
            Breach: it is not.
        """
        folded = self._folded(await self._meta())
        if folded is None:
            return
        machine = JobMachine()
        kept = await self.redis.content("states")
        listed = await self.redis.settled()
        if listed != sorted(listed):
            raise Breach(f"Redis' list of settled jobs is not in log order: {listed}")
        for name, state in folded.states.items():
            if name not in kept:
                if not (machine.is_settled(state) and state.last_offset < self.log.start):
                    raise Breach(f"Redis has forgotten {name}")
            elif orjson.loads(found := unpacked(kept[name])) != orjson.loads(machine.encode(state)):
                raise Breach(f"Redis' state of {name} is not what the log says: {found!r}")
            elif kept[name].startswith(b"{") == machine.is_settled(state):
                raise Breach(f"Redis' state of {name} is packed though it is live, or is not though it has settled")
            elif machine.is_settled(state) and (state.last_offset, name) not in listed:
                raise Breach(f"Redis' list of settled jobs does not name the last fact of {name}: {listed}")
        live = {name: state for name, state in folded.states.items() if not machine.is_ended(state)}
        _compare("states", set(kept) - set(folded.states), set())
        unsettled = {name for name, state in folded.states.items() if not machine.is_settled(state)}
        _compare("live subjects", await self.redis.members("live"), unsettled & set(kept))
        _compare("bitmaps", await self.redis.content("bitmaps"), {n: s.bitmap for n, s in live.items() if s.bitmap})
        _compare("current", {k: v.decode() for k, v in (await self.redis.content("current")).items()}, _current(live))
        _compare("specs", await self.redis.content("specs"), folded.specs)

    async def _meta(self) -> dict[str, bytes]:
        return await self.redis.content("meta")

    def _fits(self, meta: Mapping[str, bytes]) -> bool:
        if "applied" not in meta:
            return False
        applied = int(meta["applied"])
        if not self.log.start <= applied <= self.log.end:
            return False
        return applied == self.log.start or record_hash(self.log.record(applied - 1)) == meta["last"].decode()

    def _folded(self, meta: Mapping[str, bytes]) -> _Fold | None:
        if _BASE not in meta or not self._fits(meta):
            return None
        base, applied = int(meta[_BASE]), int(meta["applied"])
        if self._fold is None or self._fold.base != base or self._fold.position > applied:
            self._fold = _Fold(base, base)
        self._go_on(self._fold, applied)
        return self._fold

    def _go_on(self, fold: _Fold, applied: int) -> None:
        machine = JobMachine()
        for offset in range(fold.position, applied):
            record = self.log.record(offset)
            folded = machine.fold(fold.states.get(record.key), record)
            if folded.state is not None:
                fold.states[record.key] = folded.state
            fold.specs |= {} if folded.spec is None else {record.key: folded.spec}
            fold.specs |= {} if folded.annex is None else {annex_field(record.key): folded.annex}
            if folded.state is not None and machine.is_ended(folded.state):
                fold.specs.pop(record.key, None)
                fold.specs.pop(annex_field(record.key), None)
        fold.position = max(fold.position, applied)


def _current(states: Mapping[str, JobState]) -> dict[str, str]:
    machine = JobMachine()
    return {str(chunk): machine.mark(state) for state in states.values() for chunk in machine.chunks(state)}


def _compare(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Breach(f"Redis' {what} are {found}, but its fold makes {expected}")
