"""Mutations of holds, pauses and interruptions."""

from __future__ import annotations

import pytest

from services.router.jobs import holds, pauses, retries
from services.router.jobs.state import JobState
from shared.history import batch
from shared.history.runs.claimed_run import ClaimedRun
from tests.property.patches import mutate_code


def interruption_is_a_death(patch: pytest.MonkeyPatch) -> None:
    """A chunk that is given back has one more death."""
    once_more = "replace(chunk, deaths=chunk.deaths + 1, epoch=state.epoch + 1)"
    mutate_code(patch, retries, "put_back", "replace(chunk, epoch=state.epoch + 1)", once_more)


def interruption_of_any_epoch(patch: pytest.MonkeyPatch) -> None:
    """An interruption counts whatever the epoch of its chunk."""
    any_epoch = 'identity.endswith(f"/{chunk.first}-{chunk.last}")'
    mutate_code(patch, JobState, "current", "self.identity(chunk) == identity", any_epoch)


def told_before_it_has_stopped(patch: pytest.MonkeyPatch) -> None:
    """A run gives its chunk back, then stops."""
    stops = "self._work.kill()\n"
    mutate_code(patch, ClaimedRun, "run", stops, f"await self._work.interrupted(); {stops}")


def pause_keeps_its_chunk(patch: pytest.MonkeyPatch) -> None:
    """A pause leaves the chunk and its claim to the run that has ended."""
    mutate_code(patch, pauses, "paused", "again = put_back(state, fact.chunk_id)", "again = state")


def decisions_without_coordinates(patch: pytest.MonkeyPatch) -> None:
    """A decision is judged at each delivery."""
    mutate_code(patch, holds, "decided", " or _is_judged(state, fact)", "")


def anybody_decides(patch: pytest.MonkeyPatch) -> None:
    """Submitters decide on holds of their own jobs."""
    mutate_code(patch, holds, "decided", "state.terms.submitted_by == fact.by", "False")


def silent_holds_in_catch_up(patch: pytest.MonkeyPatch) -> None:
    """Records of holds are not published during catch-up."""
    mutate_code(
        patch,
        batch,
        "fold_batch",
        "batch.publications += folded.announcements",
        "batch.publications += folded.announcements if record.offset >= memory.caught_up_at else ()",
    )
