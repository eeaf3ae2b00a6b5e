"""Mutations of waiting for advice."""

from __future__ import annotations

import pytest

from services.router.jobs import advice
from services.router.jobs.machine import JobMachine
from shared.history import batch
from tests.property.patches import mutate_code


def late_advice_counts(patch: pytest.MonkeyPatch) -> None:
    """Advice counts after its time is over."""
    mutate_code(patch, advice, "advised", "clock.ADVISE not in state.timers", "state.engine is not None")


def nobody_waits(patch: pytest.MonkeyPatch) -> None:
    """A decision does not wait for advice."""
    mutate_code(patch, JobMachine, "due", " or clock.ADVISE in state.timers", "")


def annex_outlives_its_job(patch: pytest.MonkeyPatch) -> None:
    """Advice stays in Redis after the job's end."""
    mutate_code(
        patch,
        batch,
        "_describe",
        "advance.specs[subject] = advance.specs[annex_field(subject)] = None",
        "advance.specs[subject] = None",
    )
