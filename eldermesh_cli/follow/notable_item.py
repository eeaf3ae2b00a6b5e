"""An item that is worth a look, as verbs answer and in words."""

from __future__ import annotations

from eldermesh.contract.results import ItemResult
from eldermesh_cli.answers.jobs import ItemOfNote
from eldermesh_cli.terminal.safe_text import in_one_line


def item_of_note(result: ItemResult | None) -> ItemOfNote | None:
    """What is said of an item by its result, if there is one."""
    if result is None:
        return None
    return ItemOfNote(
        item_index=result.item_index,
        duration_seconds=result.duration_seconds,
        error_type=result.error_type,
        error_message=result.error_message,
    )


def error_text(item_index: int, error_type: str | None, error_message: str | None) -> str:
    """The error of an item in a line."""
    said = ": ".join(part for part in (error_type, error_message) if part)
    return f"item {item_index}: {in_one_line(said)}"
