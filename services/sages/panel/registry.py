"""The sages that are installed: entry points of the group `eldermesh.sages`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

from services.sages.sage import SAGES_GROUP, Sage

MakeSage = Callable[[], Sage]


def installed_sages() -> Mapping[str, MakeSage]:
    """What makes each sage, by the entry point's name, in the order of names. Nothing is imported before that."""
    entries = sorted(entry_points(group=SAGES_GROUP), key=lambda entry: entry.name)
    return {entry.name: _maker(entry) for entry in entries}


def _maker(entry: EntryPoint) -> MakeSage:
    def make() -> Sage:
        sage: Sage = entry.load()()
        if sage.name != entry.name:
            raise ValueError(f"the sage of the entry point {entry.name!r} calls itself {sage.name!r}")
        return sage

    return make
