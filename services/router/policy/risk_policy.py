"""What follows from a job's risk: it is refused, held, or routed. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from pydantic import JsonValue

from shared.facts.jobs import AdviceEntry

INCIDENT: Final = "incident"
"""The sage that rates the risk of a job."""

Risk = Literal["low", "medium", "high", "critical"]
IncidentMissing = Literal["auto", "hold", "allow"]

_WRITING_TOOLS = frozenset({"Bash", "Write", "Edit", "MultiEdit", "NotebookEdit"})
_WRITING_MODES = frozenset({"acceptEdits", "bypassPermissions"})
_MAX_REASON = 500
_MAX_RULES = 5


@dataclass(frozen=True, slots=True)
class Ruling:
    """What to do with a job; `reason` is for people, None when the job is routed."""

    action: Literal["route", "hold", "refuse"]
    reason: str | None = None


def risk_of(entry: AdviceEntry | None) -> Risk | None:
    """The risk in an entry; None if there is none, or one that this release does not know."""
    if entry is None or entry.status != "ok":
        return None
    said = entry.advice.get("risk")
    return next((risk for risk in get_args(Risk) if risk == said), None)


def incident_entry(advice: Sequence[AdviceEntry]) -> AdviceEntry | None:
    """The last entry of `incident` with a risk, else its last entry."""
    entries = [entry for entry in advice if entry.sage == INCIDENT]
    telling = [entry for entry in entries if risk_of(entry) is not None]
    return next(reversed(telling or entries), None)


def ruling(entry: AdviceEntry | None, *, missing: IncidentMissing | None, can_write: bool) -> Ruling:
    """The risk policy.

    Args:
        entry: the advice of `incident`, from the sage or from the router's own rules.
        missing: what to do where that advice is missing; None if it is not missing.
        can_write: whether the job's tools can change something.
    """
    risk = risk_of(entry)
    if risk == "critical":
        return Ruling("refuse", _reason(risk, entry))
    if risk == "high":
        return Ruling("hold", _reason(risk, entry))
    if missing == "hold":
        return Ruling("hold", "incident did not answer")
    if missing == "auto" and can_write:
        return Ruling("hold", "incident did not answer, and the job's tools can write")
    return Ruling("route")


def tools_can_write(workload: str, options: Mapping[str, JsonValue]) -> bool:
    """Whether the options of a `claude` job let its tools change something; False for other workloads."""
    if workload != "claude":
        return False
    if options.get("permission_mode") in _WRITING_MODES:
        return True
    rules = options.get("allowed_tools")
    named = {rule.partition("(")[0] for rule in rules if isinstance(rule, str)} if isinstance(rules, list) else set()
    return not named.isdisjoint(_WRITING_TOOLS)


def _reason(risk: Risk, entry: AdviceEntry | None) -> str:
    """The risk, the rules that found it, and the message of the first one."""
    reasons = [] if entry is None else entry.advice.get("reasons")
    said = [reason for reason in reasons if isinstance(reason, dict)] if isinstance(reasons, list) else []
    decisive = [reason for reason in said if reason.get("severity") == risk] or said
    rules = list(dict.fromkeys(_texts(reason.get("rule") for reason in decisive)))
    if not rules:
        return f"risk {risk}"
    more = f" and {len(rules) - _MAX_RULES} more" if len(rules) > _MAX_RULES else ""
    message = next(_texts(reason.get("message") for reason in decisive), "")
    return f"risk {risk}: {', '.join(rules[:_MAX_RULES])}{more}{': ' if message else ''}{message}"[:_MAX_REASON]


def _texts(values: Iterable[JsonValue]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))
