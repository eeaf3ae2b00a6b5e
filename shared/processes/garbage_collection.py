"""How often a process of the mesh looks for garbage."""

from __future__ import annotations

import gc

_YOUNG_OBJECTS = 50_000


def collect_seldom() -> None:
    """Have Python look for cycles after 50,000 new objects instead of 700, and never among what is loaded by now.

    Owners keep a state for each live job, and what handles records makes hardly any cycles: the looks cost them a tenth
    of their time.
    """
    gc.freeze()
    _, older, oldest = gc.get_threshold()
    gc.set_threshold(_YOUNG_OBJECTS, older, oldest)
