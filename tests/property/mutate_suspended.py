"""Mutations of what happens when a suspended machine wakes up."""

from __future__ import annotations

import pytest

from shared.history.actions import Actor
from shared.history.runs.claimed_run import ClaimedRun
from tests.property.patches import mutate_code


def suspended_leaves_silently(patch: pytest.MonkeyPatch) -> None:
    """A run suspended past its lease leaves without a fact."""
    mutate_code(patch, ClaimedRun, "run", "reason not in (INTERRUPTED, SUSPENDED)", "reason != INTERRUPTED")


def claims_judged_at_once(patch: pytest.MonkeyPatch) -> None:
    """After a suspension an owner judges claims at once."""
    mutate_code(patch, Actor, "_look", "[] if self._waking.was_within(self._times.lease) else ", "")


def gate_opened_at_once(patch: pytest.MonkeyPatch) -> None:
    """The time of a suspension counts as waiting for heartbeats."""
    mutate_code(patch, Actor, "_open_gate", " or self._waking.was_within(self._times.lease)", "")


def suspended_speaks_without_asking(patch: pytest.MonkeyPatch) -> None:
    """A suspended run gives its chunk back without asking for its claim."""
    mutate_code(
        patch, ClaimedRun, "_given_back", " and not await self._lease.is_still_held(INTERRUPTED_SECONDS)", " and False"
    )
