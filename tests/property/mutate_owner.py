"""Mutations of the owner: load, batch, advance, act."""

from __future__ import annotations

import pytest

from shared.history import batch
from shared.history.actions import Actor
from shared.history.owner import Owner
from shared.history.owner_memory import Memory
from shared.history.snapshot import PartitionStore
from tests.property.patches import mutate_code, mutate_function, mutate_lua


def applied_is_last_folded(patch: pytest.MonkeyPatch) -> None:
    """`applied` is the offset of the last fact, not of the next one."""
    mutate_code(patch, batch, "fold_batch", "applied, last = record.offset + 1,", "applied, last = record.offset,")


def silent_catch_up(patch: pytest.MonkeyPatch) -> None:
    """Below the log's end at load no progress is published."""
    mutate_code(patch, batch, "fold_batch", " and subject in memory.marked_ahead", "")


def publish_after_advance(patch: pytest.MonkeyPatch) -> None:
    """Redis is advanced before records are published."""
    publish = """    if batch.publications:
        await self._log.publish(batch.publications)
"""
    advance = """    advance = batch.advance
    try:
        memory.guard = await self._store.advance(memory.guard, advance)
    except BaseException:
        # Whether Redis advanced is unknown: only a load can tell.
        self._memory = None
        raise
"""
    mutate_code(patch, Owner, "_batch", publish + advance, advance + publish)


def advance_unguarded(patch: pytest.MonkeyPatch) -> None:
    """The advance has no guard."""
    guard = "if (guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] or run_id ~= ARGV[3] then return 0 end"
    mutate_lua(patch, "advance", guard, "")


def stop_when_overtaken(patch: pytest.MonkeyPatch) -> None:
    """A failed advance stops the owner instead of making it load again."""
    mutate_code(patch, PartitionStore, "advance", "raise self._overtaken()", "raise RuntimeError(self._keys.meta)")


def keep_memory(patch: pytest.MonkeyPatch) -> None:
    """A failed advance is repeated with a new guard and the states in memory."""
    mutate_code(patch, Owner, "step", "        self._memory = None\n", "")
    mutate_code(
        patch,
        Owner,
        "_batch",
        "only a load can tell.\n        self._memory = None",
        "only a load can tell.\n        memory.guard = (await self._store.load(uuid.uuid4().hex)).guard",
    )


def no_load_token(patch: pytest.MonkeyPatch) -> None:
    """The guard does not compare the load token."""
    for script in ("advance", "open", "look", "recall", "forget"):
        mutate_lua(patch, script, " or guard[2] ~= ARGV[2]", "")


def mark_with_the_end(patch: pytest.MonkeyPatch) -> None:
    """`job.ended` does not wait for the acknowledgement from `jobs.done`."""
    publish = "await self._log.publish([due.publication for _, due in ends])"
    marks = '[_Appending(f"end {subject}", subject, due.mark) for subject, due in ends]'
    mutate_code(patch, Actor, "_act_on", publish, f"await self._append(memory, {marks}); {publish}")


def end_before_advance(patch: pytest.MonkeyPatch) -> None:
    """Ends are published and marked before the batch's other steps."""
    ends = """    for subject, state in batch.changed.items():
        for due in self._machine.due(state, 0):
            if hasattr(due, "mark"):
                await self._log.publish([due.publication])
                await self._log.append([(subject, due.mark)])
"""
    first = "    if batch.publications:\n"
    mutate_code(patch, Owner, "_batch", first, ends + first)


def gate_opens_at_once(patch: pytest.MonkeyPatch) -> None:
    """The gate opens without waiting for heartbeats."""
    mutate_code(patch, Actor, "_open_gate", "if holds_chunks and ", "if False and holds_chunks and ")


def unclaimed_is_dead(patch: pytest.MonkeyPatch) -> None:
    """A chunk without a claim for the claim time-out counts as dead."""
    mutate_code(patch, Actor, "_look", 'if word == "dead"]', 'if word == "dead" or text in memory.window.overdue(now)]')


def bounds_before_load(patch: pytest.MonkeyPatch) -> None:
    """At a load the log's end is read before Redis."""
    load = "        snapshot = await self._store.load(uuid.uuid4().hex)\n"
    why = "        # Read after `applied`: an end read before it could lie below it.\n"
    bounds = "        start, end = await self._log.bounds()\n"
    mutate_code(patch, Owner, "_load", load + why + bounds, bounds + load)


def outside_the_log(patch: pytest.MonkeyPatch) -> None:
    """A snapshot with `applied` outside the log is used."""
    mutate_code(patch, Owner, "_continues", "<= end:\n        return False", "<= end:\n        return True")


def advance_removes_strange_claims(patch: pytest.MonkeyPatch) -> None:
    """Each advance removes claims on chunks in no plan."""
    last = "redis.call('HSET', KEYS[1], 'applied'"
    removal = """for _, chunk in ipairs(redis.call('HKEYS', KEYS[6])) do
  if redis.call('HEXISTS', KEYS[5], chunk) == 0 then redis.call('HDEL', KEYS[6], chunk) end
end
"""
    mutate_lua(patch, "advance", last, removal + last)


def gate_opens_after_half_a_lease(patch: pytest.MonkeyPatch) -> None:
    """The gate opens half a lease after the load."""
    mutate_code(patch, Actor, "_open_gate", "< self._times.lease", "< self._times.lease / 2")


def caught_up_one_fact_early(patch: pytest.MonkeyPatch) -> None:
    """An owner counts as caught up one fact early."""
    getter = Memory.is_caught_up.fget  # type: ignore[attr-defined]  # a property's function
    mutate_function(patch, getter, ">= self.caught_up_at", ">= self.caught_up_at - 1")


def gate_opened_for_any_process(patch: pytest.MonkeyPatch) -> None:
    """Opening the gate does not compare the run id."""
    mutate_lua(patch, "open", " or run_id ~= ARGV[3]", "")


def guard_without_the_process(patch: pytest.MonkeyPatch) -> None:
    """Of all guarded calls only looking at claims compares the run id."""
    for script in ("advance", "open", "recall", "forget"):
        mutate_lua(patch, script, " or run_id ~= ARGV[3]", "")


def guard_without_applied(patch: pytest.MonkeyPatch) -> None:
    """Neither the advance nor what is recalled before it compares `applied`."""
    for script in ("advance", "recall"):
        mutate_lua(patch, script, "(guard[1] or '') ~= ARGV[1] or ", "")


def look_without_applied_and_token(patch: pytest.MonkeyPatch) -> None:
    """Looking at claims compares the run id and the gate alone, and forgetting the run id."""
    for script in ("look", "forget"):
        mutate_lua(patch, script, "(guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] or ", "")


def token_used_again(patch: pytest.MonkeyPatch) -> None:
    """An owner writes the same load token at each load."""
    mutate_code(patch, Owner, "_load", "uuid.uuid4().hex", "str(id(self))")


def strays_stay(patch: pytest.MonkeyPatch) -> None:
    """Opening the gate keeps claims on chunks in no plan."""
    mutate_lua(patch, "open", "if redis.call('HEXISTS', KEYS[2], chunk) == 0 then", "if false then")


def emptied_without_comparing(patch: pytest.MonkeyPatch) -> None:
    """Emptying a snapshot has no guard."""
    guard = "if (guard[1] or '') ~= ARGV[1] or guard[2] ~= ARGV[2] then return 0 end"
    mutate_lua(patch, "empty", guard, "")


def ready_for_any_process(patch: pytest.MonkeyPatch) -> None:
    """A gate opened for an earlier Redis process counts as open."""
    mutate_code(patch, PartitionStore, "load", "is_ready=ready == run_id", "is_ready=ready is not None")


def no_conflicts_in_catch_up(patch: pytest.MonkeyPatch) -> None:
    """Of a job whose mark comes later in the log nothing is published, not even conflicts."""
    mutate_code(
        patch,
        batch,
        "fold_batch",
        "if folded.conflict is not None:",
        "if folded.conflict is not None and subject not in memory.marked_ahead:",
    )


def folds_from_the_start(patch: pytest.MonkeyPatch) -> None:
    """An owner folds from the log's start, whatever was applied."""
    mutate_code(patch, Owner, "_load", "max(snapshot.applied, start)", "start")
