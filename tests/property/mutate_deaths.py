"""Mutations of how deaths are counted, and of what the owner says of a run that has spoken for itself."""

from __future__ import annotations

import pytest

from services.router.jobs import plan, results
from shared.history.actions import Actor
from tests.property.patches import mutate_code


def deaths_of_the_chunk_stay(patch: pytest.MonkeyPatch) -> None:
    """An item left alone keeps its chunk's deaths."""
    mutate_code(patch, plan, "shrunk", "0 if alone_now else planned.deaths", "planned.deaths")


def crash_counts_always(patch: pytest.MonkeyPatch) -> None:
    """A reported crash counts though its chunk is in no plan."""
    mutate_code(patch, results, "_is_of", "not fact.only_if_current or", "True or")


def dead_before_all_is_read(patch: pytest.MonkeyPatch) -> None:
    """A dead claim is a death, whatever stands in the log behind the owner's position."""
    mutate_code(patch, Actor, "_silent", " if memory.seen_dead[text] <= memory.position", "")
