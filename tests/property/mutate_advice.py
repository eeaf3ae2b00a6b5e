"""Mutations of waiting for advice."""

from __future__ import annotations

import pytest

from services.router.jobs import advice
from services.router.jobs.machine import JobMachine
from shared.history import batch
from tests.property.patches import mutate_code


def late_advice_counts(patch: pytest.MonkeyPatch) -> None:
    """Advice counts when its time was over, too."""
    mutate_code(patch, advice, "advised", "clock.ADVISE not in state.timers", "state.engine is not None")


def nobody_waits(patch: pytest.MonkeyPatch) -> None:
    """A decision is due at once, whether somebody was asked or not."""
    mutate_code(patch, JobMachine, "due", " or clock.ADVISE in state.timers", "")


def annex_outlives_its_job(patch: pytest.MonkeyPatch) -> None:
    """What runs are told of the advice stays in Redis when the job has ended."""
    mutate_code(
        patch,
        batch,
        "_describe",
        "advance.specs[subject] = advance.specs[annex_field(subject)] = None",
        "advance.specs[subject] = None",
    )
