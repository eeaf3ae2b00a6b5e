"""How large a slice is."""

from __future__ import annotations

import pytest

from services.router.engines.chunks.item_slices import MAX_SLICE_ITEMS, SLICE_SECONDS, SliceSize


@pytest.mark.parametrize(
    ("items", "seconds", "following"),
    [
        (1, 0.000_02, MAX_SLICE_ITEMS),
        (1, 0.001, 100),
        (10, 0.1, 10),
        (1, 0.06, 1),
        (1, 600.0, 1),
        (3, 0.0, MAX_SLICE_ITEMS),
    ],
)
def test_a_slice_takes_a_tenth_of_a_second(items: int, seconds: float, following: int) -> None:
    """By what its items took last; at least one, and bounded."""
    size = SliceSize()
    assert size.items(1) == 1
    size.ran(items, seconds)
    assert size.items(1) == following
    assert following == 1 or following * seconds / items <= SLICE_SECONDS


@pytest.mark.parametrize(("seconds", "following"), [(0.02, 800), (1.0, 16), (600.0, 16)])
def test_a_slice_has_all_that_run_at_once(seconds: float, following: int) -> None:
    """Also where one takes longer than a slice is to take: fewer would run one after another."""
    size = SliceSize()
    assert size.items(16) == 16
    size.ran(16, seconds)
    assert size.items(16) == following


def test_a_slice_in_which_nothing_ran_says_nothing() -> None:
    """There was no time for it."""
    size = SliceSize()
    size.ran(1, 0.001)
    size.ran(0, 5.0)
    assert size.items(1) == 100
