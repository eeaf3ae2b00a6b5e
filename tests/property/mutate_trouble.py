"""Mutations of how an owner bears trouble."""

from __future__ import annotations

import pytest

from shared.history.accepted_state import AcceptedState
from shared.history.actions import Actor
from shared.history.chunk_sender import Sender
from shared.history.owner import Owner
from tests.property.patches import mutate_code


def overdue_before_its_fold(patch: pytest.MonkeyPatch) -> None:
    """A due timer shortens the wait for facts before all are folded."""
    mutate_code(patch, Actor, "shorten", " or not memory.is_caught_up", "")


def engine_stops_its_partition(patch: pytest.MonkeyPatch) -> None:
    """Chunks are sent again first, and an engine's refusal ends the step."""
    look = "await self._look(memory, now)\n"
    mutate_code(patch, Actor, "act", look, f"{look}        await self._send_again(memory, now)\n")
    told = "lanes = frozenset(due.lane for _, due in chunks)"
    mutate_code(patch, Sender, "_dispatched", told, f"raise\n        {told}")


def any_failure_drops_memory(patch: pytest.MonkeyPatch) -> None:
    """Every failure of a step drops the memory."""
    mutate_code(patch, Owner, "step", "except LostOwnershipError:", "except BaseException:")


def claimed_without_a_lane(patch: pytest.MonkeyPatch) -> None:
    """Chunks claimed at a load fill no lane's window."""
    mutate_code(patch, Owner, "_load", "claimed(chunk, now, self._machine.lane(state))", "claimed(chunk, now)")


def mark_before_a_repeat(patch: pytest.MonkeyPatch) -> None:
    """The mark of an end is not repeated behind a later submit."""
    mutate_code(patch, AcceptedState, "accepted_again", "accepted_since=self.marked", "accepted_since=False")
