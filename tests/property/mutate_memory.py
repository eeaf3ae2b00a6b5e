"""Mutations of what an owner holds in memory, and of what Redis keeps of settled jobs."""

from __future__ import annotations

import pytest

from shared.history import batch
from shared.history.owner import Owner
from tests.property import scenarios_memory, scenarios_owner
from tests.property.mutation import Mutation
from tests.property.patches import mutate_code, mutate_lua


def forget_by_time(patch: pytest.MonkeyPatch) -> None:
    """Settled states are removed while their facts are in the log."""
    mutate_lua(patch, "forget", "local start = tonumber(ARGV[4])", "local start = math.huge")


def live_jobs_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A job that had settled as a stub, and lives, is removed with its first fact."""
    last = "local last = string.match(redis.call('HGET', KEYS[2], subject) or '', '^z1 (%d+) ')"
    mutate_lua(patch, "forget", last, "local last = offset")


def settled_not_recalled(patch: pytest.MonkeyPatch) -> None:
    """A fact of a settled job is folded as if nothing were known of it."""
    recalled = "await self._store.recall(memory.guard, unknown) if unknown else {}"
    mutate_code(patch, Owner, "_batch", recalled, "{}")


def listed_once(patch: pytest.MonkeyPatch) -> None:
    """Retention is told of the fact that settles a job, and of none after it."""
    settles = "if before is None or not machine.is_settled(before) else {}"
    listed = "advance.settled[subject] = last_offset"
    mutate_code(patch, batch, "_describe", listed, f"advance.settled |= {{subject: last_offset}} {settles}")


def live_not_kept(patch: pytest.MonkeyPatch) -> None:
    """The advance does not keep which jobs are live."""
    mutate_lua(patch, "advance", "redis.call('SADD', KEYS[7], subject)", "")


def live_of_any_advance(patch: pytest.MonkeyPatch) -> None:
    """A load takes what is kept of live jobs, though an earlier release has advanced since."""
    mutate_lua(patch, "load", "meta[1] == meta[4]", "true")


def live_known_too_early(patch: pytest.MonkeyPatch) -> None:
    """Live jobs count as known from the first call on that writes them anew."""
    mutate_code(patch, Owner, "_separated", ", is_live_whole=False", "")


MUTATIONS = (
    Mutation(
        "live jobs forgotten",
        live_jobs_forgotten,
        scenarios_memory.retention_takes_the_stub_of_a_live_job,
        "not every accepted job ends",
    ),
    Mutation(
        "a settled job is not recalled",
        settled_not_recalled,
        scenarios_owner.repeated_long_after_its_end,
        "again after",
    ),
    Mutation(
        "settled jobs are listed once",
        listed_once,
        scenarios_memory.cancelled_twice,
        "does not name the last fact",
    ),
    Mutation(
        "which jobs are live is not kept",
        live_not_kept,
        scenarios_memory.retention_takes_facts_of_a_live_job,
        "not every accepted job ends",
    ),
    Mutation(
        "live jobs of any advance",
        live_of_any_advance,
        scenarios_memory.earlier_release_in_between,
        "not every accepted job ends",
    ),
    Mutation(
        "live jobs known too early",
        live_known_too_early,
        scenarios_memory.killed_amid_an_upgrade,
        "not every accepted job ends",
    ),
)
