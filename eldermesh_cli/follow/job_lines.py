"""What people read of a job: its advice, its holds, the error of an item. `--json` has all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from eldermesh.counted import counted
from eldermesh_cli.terminal.safe_text import in_one_line

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import HoldStatus

Entry = Mapping[str, JsonValue]

_MOST_LISTED = 5
_WHOLE_FROM = 1000


def advice_pairs(entries: Sequence[Entry]) -> list[tuple[str, str | None]]:
    """Names and values: the estimate, the risk, what a prompt was given, and who did not answer; None: nothing."""
    return [
        ("estimate", _estimate(entries)),
        ("risk", _risk(entries)),
        ("passages", _listed(entries, "passages", "citation", "title", "source")),
        ("lessons", _listed(entries, "lessons", "text")),
        ("no advice", "; ".join(_silent(entries)) or None),
    ]


def _said(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Mapping[str, JsonValue]]]:
    for entry in entries:
        advice = entry.get("advice")
        if entry.get("status") == "ok" and isinstance(advice, dict):
            yield entry, advice


def _estimate(entries: Sequence[Entry]) -> str | None:
    for _, advice in _said(entries):
        samples, duration = advice.get("samples"), _quantiles(advice.get("duration_seconds"), " s")
        if duration is None or not isinstance(samples, int):
            continue
        queue = _quantiles(advice.get("queue_seconds"), " s")
        cost = _quantiles(advice.get("cost_usd"), " USD")
        parts = [
            duration,
            *([] if queue is None else [f"queued before {queue}"]),
            *([] if cost is None else [f"cost {cost}"]),
            f"from {counted(samples, 'job')}",
        ]
        return ", ".join(parts)
    return None


def _quantiles(value: JsonValue, unit: str) -> str | None:
    """The median, and the range of the middle eight tenths."""
    if not isinstance(value, dict):
        return None
    p10, p50, p90 = (value.get(name) for name in ("p10", "p50", "p90"))
    if not (isinstance(p10, int | float) and isinstance(p50, int | float) and isinstance(p90, int | float)):
        return None
    return f"{_rounded(p50)}{unit} ({_rounded(p10)} to {_rounded(p90)})"


def _rounded(value: float) -> str:
    """Three digits are all that an estimate is worth; larger whole numbers stay whole."""
    return f"{value:.0f}" if abs(value) >= _WHOLE_FROM else f"{value:.3g}"


def _risk(entries: Sequence[Entry]) -> str | None:
    risk: str | None = None
    for _, advice in _said(entries):
        if not isinstance(word := advice.get("risk"), str):
            continue
        by = " by the router's own rules" if advice.get("by") == "router" else ""
        reasons = advice.get("reasons")
        said = [reason for reason in reasons if isinstance(reason, dict)] if isinstance(reasons, list) else []
        texts = [f"{reason.get('rule')}: {reason.get('message')}" for reason in said]
        risk = f"{word}{by}{': ' if texts else ''}{_shortened(texts)}"
    return risk


def _listed(entries: Sequence[Entry], kind: str, *keys: str) -> str | None:
    texts: list[str] = []
    for _, advice in _said(entries):
        found = advice.get(kind)
        for each in found if isinstance(found, list) else ():
            if isinstance(each, dict):
                texts += [text for key in keys if isinstance(text := each.get(key), str) and text][:1]
    return _shortened(texts) or None


def _shortened(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_LISTED
    return "; ".join([*map(in_one_line, texts[:_MOST_LISTED]), *([f"{more} more"] if more > 0 else [])])


def _silent(entries: Sequence[Entry]) -> Iterator[str]:
    """Each sage that gave none, also where the router judged in its place."""
    answered = {entry.get("sage") for entry, advice in _said(entries) if advice.get("by") != "router"}
    silent = (entry for entry in entries if entry.get("status") != "ok" and entry.get("sage") not in answered)
    yield from dict.fromkeys(f"{entry.get('sage')} ({entry.get('status')})" for entry in silent)


def hold_text(hold: HoldStatus) -> str:
    """How a hold went, and who decided."""
    if hold.outcome is None:
        return f"since {hold.held_at}"
    who = "" if hold.by is None else f" by {in_one_line(hold.by)}"
    said = "" if hold.decision_reason is None else f": {in_one_line(hold.decision_reason)}"
    return f"{hold.outcome.replace('_', ' ')}{who} at {hold.ended_at}{said}"


def why_text(state: str, *said: str | None) -> str | None:
    """Why a job is in its state; None where nothing is said but the state once more."""
    return ": ".join(part for part in said if part and part != state) or None


def error_text(item_index: int, error_type: str | None, error_message: str | None) -> str:
    """The error of an item in a line."""
    said = ": ".join(part for part in (error_type, error_message) if part)
    return f"item {item_index}: {in_one_line(said)}"
