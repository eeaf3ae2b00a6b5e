"""Counts as people write them: `1 item`, `2 items`."""

from __future__ import annotations


def counted(count: int, one: str, several: str | None = None) -> str:
    """The count and its noun; `several` is the plural where `one` with an `s` is wrong: `dead letter that …`."""
    return f"{count} {one if count == 1 else several or f'{one}s'}"
