"""Mutations of claims: their scripts, and the runner's use of them."""

from __future__ import annotations

import inspect
import textwrap

import pytest

from services.router.engines.chunks.item_slices import ItemSlices
from services.router.engines.chunks.items import ChunkItems
from services.router.engines.chunks.run import ChunkRun
from services.router.engines.chunks.runner import ChunkRunner
from shared.history.actions import Actor
from shared.history.runs.claim_request import claimed_lease
from shared.history.runs.claims import ClaimStore
from shared.history.runs.lease import Lease
from tests.property.patches import mutate_code, mutate_function, mutate_lua


def freed_at_finish(patch: pytest.MonkeyPatch) -> None:
    """A finished claim is removed instead of marked done."""
    done = "redis.call('HSET', KEYS[1], ARGV[1], table.concat({'done', ARGV[2], ARGV[3]}, ' '))"
    mutate_lua(patch, "finish", done, "redis.call('HDEL', KEYS[1], ARGV[1])")


def freed_by_time(patch: pytest.MonkeyPatch) -> None:
    """A claim whose lease is over is removed instead of marked dead."""
    dead = """      word = 'dead'
      redis.call('HSET', KEYS[2], ARGV[index], 'dead ' .. string.match(claim, '^held (%S+ %S+)'))
"""
    gone = "      word = 'absent'\n      redis.call('HDEL', KEYS[2], ARGV[index])\n"
    mutate_lua(patch, "look", dead, gone)


def known_is_enough(patch: pytest.MonkeyPatch) -> None:
    """A known job's claim is given while the gate is closed."""
    mutate_lua(patch, "claim", "if redis.call('HGET', KEYS[1], 'ready') ~= run_id then return {'not_yet', ''} end", "")


def any_claim_refuses(patch: pytest.MonkeyPatch) -> None:
    """Even a run's own claim is refused to it."""
    own = " and string.sub(claim, 1, #ARGV[3] + #ARGV[4] + 7) ~= 'held ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' '"
    mutate_lua(patch, "claim", own, "")


def missing_claim_kills(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat that finds no claim stops the run."""
    mutate_lua(patch, "renew", "if claim and string.sub", "if not claim or string.sub")


def blind_heartbeat(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat writes its lease and asks nothing."""
    first = "local known = "
    blind = """local t = redis.call('TIME')
redis.call('HSET', KEYS[5], ARGV[2], 'held ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' ..
  string.format('%d', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[5]))
if true then return 'held' end
"""
    mutate_lua(patch, "renew", first, blind + first)


def no_renewal_before_item(patch: pytest.MonkeyPatch) -> None:
    """Only heartbeats renew the lease."""
    mutate_code(patch, ChunkItems, "run", "await self._lease.renew()", "pass")


def slice_without_end(patch: pytest.MonkeyPatch) -> None:
    """Items of a slice begin whatever the time is."""
    ends = "self._lease.ends_at(at_most_seconds=self._parts.settings.heartbeat_seconds / 2)"
    mutate_code(patch, ItemSlices, "_begin_until", ends, 'float("inf")')


def dead_claim_renewed(patch: pytest.MonkeyPatch) -> None:
    """A run that asks for its dead claim has it again."""
    own = "if claim and string.sub(claim, 1,"
    dead = "if claim and string.sub(claim, 1, 5) ~= 'dead ' and string.sub(claim, 1,"
    mutate_lua(patch, "renew", own, dead)


def all_items_handed_out(patch: pytest.MonkeyPatch) -> None:
    """A claim also names items that have results."""
    missing = "missing_items(bytes(first_byte) + bits, chunk.first, chunk.last)"
    mutate_code(patch, ClaimStore, "claim", missing, "tuple(range(chunk.first, chunk.last + 1))")


def done_before_flushed(patch: pytest.MonkeyPatch) -> None:
    """The claim is done before the last results are published."""
    flush = "await self._publisher.flush()"
    mutate_code(patch, ChunkRun, "work", flush, f"await self._lease.finish(); {flush}")


def lease_looked_at_after_an_item(patch: pytest.MonkeyPatch) -> None:
    """The lease is looked at after each item, not before."""
    asked, begins = "await self._lease.renew()\n", "try:\n"
    indent = " " * 16
    item = inspect.getsource(ChunkItems.run).partition(asked)[2].partition("await publisher.add(timed)")[0]
    item = textwrap.dedent(item).strip().replace("\n", "\n" + indent) + "\n" + indent + "await publisher.add(timed)\n"
    assert item.startswith(begins)
    mutate_code(patch, ChunkItems, "run", (asked + indent + item)[:-1], (item + indent + asked)[:-1])


def lease_from_the_answer(patch: pytest.MonkeyPatch) -> None:
    """A renewed lease starts at Redis' answer, not at the question."""
    mutate_code(
        patch, Lease, "renew", "max(self._renewed_at, asked_at,", "max(self._renewed_at, Instant.now(self._clock),"
    )


def done_is_dead(patch: pytest.MonkeyPatch) -> None:
    """A done claim counts as dead until its facts are folded, and dead claims at once."""
    mutate_code(patch, Actor, "_silent", " if memory.seen_dead[text] <= memory.position", "")
    mutate_code(patch, Actor, "_look", 'if word == "dead"]', 'if word in ("dead", "done")]')


def dead_is_not_written(patch: pytest.MonkeyPatch) -> None:
    """A dead claim is not marked so in Redis."""
    written = "redis.call('HSET', KEYS[2], ARGV[index], 'dead ' .. string.match(claim, '^held (%S+ %S+)'))"
    mutate_lua(patch, "look", written, "")


def one_run_for_all(patch: pytest.MonkeyPatch) -> None:
    """All executions of a worker's tasks are one run."""
    mutate_code(patch, ChunkRunner, "_claim", "uuid4().hex", '"run"')


def claim_from_the_answer(patch: pytest.MonkeyPatch) -> None:
    """A new lease starts at Redis' answer, not at the question."""
    mutate_function(patch, claimed_lease, "taken_at=asked_at", "taken_at=Instant.now(clock)")


def done_whatever_it_is(patch: pytest.MonkeyPatch) -> None:
    """A run marks a removed claim done."""
    mutate_lua(patch, "finish", "if claim and string.sub", "if not claim or string.sub")


def any_chunk_is_claimed(patch: pytest.MonkeyPatch) -> None:
    """A claim does not ask whether its chunk is in the plan."""
    mutate_lua(patch, "claim", "if not mark then return {'leave', ''} end", "mark = mark or ''")


def renewed_whatever_is_current(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat does not ask whether its chunk is in the plan."""
    asks = "not mark and redis.call('HGET', KEYS[1], 'ready') == run_id"
    mutate_lua(patch, "renew", asks, "false")


def unknown_is_ended(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat stops the run of a job that Redis does not know."""
    mutate_lua(patch, "renew", "if known and redis.call", "if redis.call")
