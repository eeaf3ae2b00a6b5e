"""What Redis holds of one history partition: loaded at once, advanced under guard in one Lua call."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Literal

from redis.asyncio import Redis

from shared.errors import LostOwnershipError
from shared.history.keys import PartitionKeys
from shared.history.machine import Measurement
from shared.history.scripts import lua_script
from shared.history.subject_failures import FORGET_SECONDS

ClaimWord = Literal["absent", "held", "dead", "done"]


@dataclass(frozen=True, slots=True)
class Guard:
    """What must still hold for a guarded call to write: `applied` ("" when absent), the load token, Redis' run id."""

    applied: str
    token: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A partition as loaded. `applied` is the offset of the next fact to fold, None when Redis knows nothing.

    `states` and `bitmaps` are those of live subjects. Without `knows_live` they are those of all: Redis was written by
    an earlier release (see `Advance.is_live_whole`), or by nobody.
    """

    guard: Guard
    applied: int | None
    is_ready: bool
    last_record: str
    states: Mapping[str, bytes]
    bitmaps: Mapping[str, bytes]
    claimed: Collection[str]
    knows_live: bool


@dataclass(slots=True)
class Advance:
    """What one batch changed."""

    applied: int
    last_record: str
    states: dict[str, bytes | None] = field(default_factory=dict)
    specs: dict[str, bytes | None] = field(default_factory=dict)
    bitmaps: dict[str, bytes | None] = field(default_factory=dict)
    current: dict[str, str | None] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    """Chunks that this batch finished or replaced: their claims are removed, no others."""
    live: set[str] = field(default_factory=set)
    """Subjects that are live now."""
    settled: dict[str, int] = field(default_factory=dict)
    """Subjects that are settled now, though they may have been before → the offset of their last fact."""
    measurements: list[Measurement] = field(default_factory=list)
    """In the order of the log."""
    is_live_whole: bool = True
    """Whether Redis knows all live subjects after this; False until the last of the calls that write them anew."""


class PartitionStore:
    """The Redis side of one partition's owner.

    Args:
        redis: a client with `decode_responses=False`.
        keys: the partition's keys.
    """

    def __init__(self, redis: Redis, keys: PartitionKeys) -> None:
        self._redis = redis
        self._keys = keys
        self._written_keys = [
            keys.meta,
            keys.states,
            keys.specs,
            keys.bitmaps,
            keys.current,
            keys.claims,
            keys.live,
            keys.settled,
            keys.measurements,
        ]
        self._has_noted = False
        self._load = redis.register_script(lua_script("load"))
        self._advance = redis.register_script(lua_script("advance"))
        self._open = redis.register_script(lua_script("open"))
        self._empty = redis.register_script(lua_script("empty"))
        self._look = redis.register_script(lua_script("look"))
        self._recall = redis.register_script(lua_script("recall"))
        self._forget = redis.register_script(lua_script("forget"))

    async def load(self, token: str) -> Snapshot:
        """Write a fresh load token and read what is live.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        keys = self._keys
        run_id, applied, ready, last, states, bitmaps, claims, knows_live = await self._load(
            keys=[keys.meta, keys.states, keys.bitmaps, keys.claims, keys.live, keys.settled], args=[token]
        )
        text = "" if applied is None else applied.decode()
        return Snapshot(
            guard=Guard(text, token, run_id.decode()),
            applied=None if applied is None else int(text),
            is_ready=ready == run_id,
            last_record="" if last is None else last.decode(),
            states=_pairs(states),
            bitmaps=_pairs(bitmaps),
            claimed=frozenset(_pairs(claims)),
            knows_live=knows_live == 1,
        )

    async def advance(self, guard: Guard, advance: Advance) -> Guard:
        """Write what a batch changed, and return the guard for the next call.

        Raises:
            LostOwnershipError: the partition is no longer as it was loaded; nothing was written.
            redis.RedisError: Redis did not answer; whether it wrote is unknown: load again.
        """
        args: list[Any] = [*_guard_args(guard), str(advance.applied), advance.last_record, int(advance.is_live_whole)]
        for changes in (advance.states, advance.specs, advance.bitmaps):
            written = [part for name, value in changes.items() if value is not None for part in (name, value)]
            _append_list(args, written)
            _append_list(args, [name for name, value in changes.items() if value is None])
        by_mark: dict[str | None, list[str]] = {}
        for chunk, mark in advance.current.items():
            by_mark.setdefault(mark, []).append(chunk)
        gone = by_mark.pop(None, ())
        _append_list(args, [part for mark, chunks in by_mark.items() for part in ("\n".join(chunks), mark)])
        _append_list(args, ["\n".join(gone)])
        _append_list(args, ["\n".join(advance.finished)])
        _append_list(args, advance.live)
        _append_list(args, [part for pair in sorted(advance.settled.items(), key=itemgetter(1)) for part in pair])
        _append_list(args, [part for each in advance.measurements for part in (each.name, each.value)])
        if not await self._advance(keys=self._written_keys, args=args):
            raise self._overtaken()
        return Guard(str(advance.applied), guard.token, guard.run_id)

    async def recall(self, guard: Guard, subjects: Sequence[str]) -> dict[str, tuple[bytes, bytes]]:
        """State and bitmap of each of these subjects that Redis has.

        Raises:
            LostOwnershipError: the partition is no longer as it was loaded: fold nothing.
            redis.RedisError: Redis did not answer.
        """
        keys = [self._keys.meta, self._keys.states, self._keys.bitmaps]
        found = await self._recall(keys=keys, args=[*_guard_args(guard), *subjects])
        if found is None:
            raise self._overtaken()
        pairs = zip(subjects, found[::2], found[1::2], strict=True)
        return {subject: (state, bitmap or b"") for subject, state, bitmap in pairs if state is not None}

    async def forget(self, guard: Guard, log_start: int, most: int) -> int:
        """Forget settled subjects whose last fact is below the log's start; how many entries were looked at.

        At most `most` are: with so many, ask again.

        Raises:
            LostOwnershipError: the partition is no longer as it was loaded; nothing was written.
            redis.RedisError: Redis did not answer.
        """
        keys = [self._keys.meta, self._keys.states, self._keys.bitmaps, self._keys.settled]
        looked_at = await self._forget(keys=keys, args=[*_guard_args(guard), log_start, most])
        if looked_at is None:
            raise self._overtaken()
        return int(looked_at)

    async def open_gate(self, guard: Guard) -> None:
        """Let runners claim, and remove claims that heartbeats have re-created on chunks of no plan.

        Raises:
            LostOwnershipError: the partition is no longer as it was loaded; nothing was written.
        """
        written_keys = [self._keys.meta, self._keys.current, self._keys.claims]
        if not await self._open(keys=written_keys, args=_guard_args(guard)):
            raise self._overtaken()

    async def empty(self, guard: Guard) -> bool:
        """Forget everything, if `applied` is still what was loaded, and return whether it was.

        Whoever was faster will load again anyway.
        """
        emptied = await self._empty(keys=self._written_keys, args=[guard.applied, guard.token])
        return int(emptied) == 1

    async def look(self, guard: Guard, chunks: Sequence[str]) -> dict[str, ClaimWord]:
        """The state of each chunk's claim; this call makes expired ones dead.

        Raises:
            LostOwnershipError: the partition is no longer as it was loaded, or the gate is closed.
        """
        words = await self._look(keys=[self._keys.meta, self._keys.claims], args=[*_guard_args(guard), *chunks])
        if words is None:
            raise self._overtaken()
        return {chunk: word.decode() for chunk, word in zip(chunks, words, strict=True)}

    async def note_trouble(self, trouble: Mapping[str, str | None]) -> None:
        """Store why subjects (or lanes) wait, for people who ask; None removes an entry.

        All expire after a while without a call. The first call removes the entries of the previous owner.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        pipeline: Any = self._redis.pipeline()
        if not self._has_noted:
            pipeline.delete(self._keys.trouble)
        if over := [subject for subject, reason in trouble.items() if reason is None]:
            pipeline.hdel(self._keys.trouble, *over)
        if waiting := {subject: reason for subject, reason in trouble.items() if reason is not None}:
            pipeline.hset(self._keys.trouble, mapping=waiting)
        pipeline.expire(self._keys.trouble, round(FORGET_SECONDS))
        await pipeline.execute()
        self._has_noted = True

    def _overtaken(self) -> LostOwnershipError:
        return LostOwnershipError(f"the owner of {self._keys.meta} was overtaken")


def _guard_args(guard: Guard) -> list[str]:
    return [guard.applied, guard.token, guard.run_id]


def _append_list(args: list[Any], elements: Iterable[Any]) -> None:
    listed = list(elements)
    args.append(len(listed))
    args.extend(listed)


def _pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
