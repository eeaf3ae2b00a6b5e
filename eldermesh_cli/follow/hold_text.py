"""A hold in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eldermesh_cli.terminal.safe_text import in_one_line

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import HoldStatus


def hold_text(hold: HoldStatus) -> str:
    """How it went, and who decided."""
    if hold.outcome is None:
        return f"since {hold.held_at}"
    who = "" if hold.by is None else f" by {in_one_line(hold.by)}"
    said = "" if hold.decision_reason is None else f": {in_one_line(hold.decision_reason)}"
    return f"{hold.outcome.replace('_', ' ')}{who} at {hold.ended_at}{said}"
