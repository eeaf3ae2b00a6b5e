"""Mutations of what happens when a suspended machine wakes up."""

from __future__ import annotations

import pytest

from shared.history.actions import Actor
from shared.history.runs.claimed_run import ClaimedRun
from tests.property.patches import mutate_code


def suspended_leaves_silently(patch: pytest.MonkeyPatch) -> None:
    """A run whose lease lapsed while its machine was suspended leaves without a word."""
    mutate_code(patch, ClaimedRun, "run", "reason not in (INTERRUPTED, SUSPENDED)", "reason != INTERRUPTED")


def claims_judged_at_once(patch: pytest.MonkeyPatch) -> None:
    """An owner judges claims as soon as its machine has woken up."""
    mutate_code(patch, Actor, "_look", "[] if self._waking.was_within(self._times.lease) else ", "")


def gate_opened_at_once(patch: pytest.MonkeyPatch) -> None:
    """The gate opens a lease after the load, though the machine was suspended for all that time."""
    mutate_code(patch, Actor, "_open_gate", " or self._waking.was_within(self._times.lease)", "")


def suspended_speaks_without_asking(patch: pytest.MonkeyPatch) -> None:
    """A run whose machine was suspended gives its chunk back whether the claim is its own still or not."""
    mutate_code(
        patch, ClaimedRun, "_given_back", " and not await self._lease.is_still_held(INTERRUPTED_SECONDS)", " and False"
    )
