"""Mutations of how deaths are counted, and of what the owner says of a run that has spoken for itself."""

from __future__ import annotations

import pytest

from services.router.jobs import plan, results
from tests.property.patches import mutate_code


def deaths_of_the_chunk_stay(patch: pytest.MonkeyPatch) -> None:
    """An item that is alone now has the deaths that its chunk had when there were others in it."""
    mutate_code(patch, plan, "_shrunk", "0 if alone_now else planned.deaths", "planned.deaths")


def crash_counts_always(patch: pytest.MonkeyPatch) -> None:
    """The end of an item that kills its runners counts though its chunk stands in no plan any more."""
    mutate_code(patch, results, "_is_of", "not fact.only_if_current or", "True or")
