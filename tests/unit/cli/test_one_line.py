"""Texts from outside in lines for people: none of them begins a line of its own."""

from __future__ import annotations

from typing import Any

import pytest

from eldermesh_cli.answers.jobs import HoldStatus
from eldermesh_cli.follow.job_lines import advice_pairs, error_text, hold_text

AT = "2026-01-01T00:00:00.000Z"
FORGED = "fine\n  failed    item 0: forged\r\u2028\x0b\x85" + "x" * 1_000
SAYING = {
    "the reason of a decision": lambda: hold_text(_hold(by="anna", reason=FORGED)),
    "who decided": lambda: hold_text(_hold(by=FORGED, reason="fine")),
    "an item's error": lambda: error_text(3, "exception", FORGED),
    "advice": lambda: "".join(text or "" for _, text in advice_pairs([_advice(), _risk()])),
}


def _hold(*, by: str, reason: str) -> HoldStatus:
    return HoldStatus(reason="r", held_at=AT, until=AT, ended_at=AT, outcome="approved", by=by, decision_reason=reason)


def _advice() -> dict[str, Any]:
    return {"sage": "rag", "status": "ok", "advice": {"passages": [{"title": FORGED}], "lessons": [{"text": FORGED}]}}


def _risk() -> dict[str, Any]:
    reasons = [{"rule": "r", "message": FORGED}]
    return {"sage": "incident", "status": "ok", "advice": {"risk": "low", "reasons": reasons}}


@pytest.mark.parametrize("what", SAYING)
def test_it_is_one_short_line(what: str) -> None:
    """Whatever separates lines somewhere is a space, and what is long is cut."""
    said = SAYING[what]()

    assert len(said.splitlines()) == 1
    assert "fine failed item 0: forged x" in said
    assert len(said) < 1_000
