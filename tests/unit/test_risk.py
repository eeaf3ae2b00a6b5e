"""The risk policy, as a table."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from services.router.policy.risk_policy import IncidentMissing, Ruling, incident_entry, risk_of, ruling, tools_can_write
from shared.facts.jobs import AdviceEntry


def says(risk: JsonValue, *reasons: JsonValue, status: Any = "ok") -> AdviceEntry:
    """Incident's entry."""
    return AdviceEntry(sage="incident", status=status, advice={"risk": risk, "reasons": list(reasons)})


def because(rule: JsonValue, severity: str, message: JsonValue = "a message") -> dict[str, JsonValue]:
    """One reason."""
    return {"rule": rule, "severity": severity, "message": message, "item_index": 0}


@pytest.mark.parametrize(
    ("risk", "action"), [("low", "route"), ("medium", "route"), ("high", "hold"), ("critical", "refuse")]
)
@pytest.mark.parametrize("missing", [None, "allow", "auto", "hold"])
def test_the_risk_decides(risk: str, action: str, missing: IncidentMissing | None) -> None:
    """Critical is refused, high is held; below that what is missing may hold."""
    ruled = ruling(says(risk), missing=missing, can_write=False)
    assert ruled.action == ("hold" if action == "route" and missing == "hold" else action)
    assert (ruled.reason is None) == (ruled.action == "route")


@pytest.mark.parametrize(
    ("missing", "can_write", "action"),
    [
        (None, True, "route"),
        ("allow", True, "route"),
        ("auto", False, "route"),
        ("auto", True, "hold"),
        ("hold", False, "hold"),
    ],
)
@pytest.mark.parametrize("entry", [None, says("critical", status="late"), says("terrible"), says(["critical"])])
def test_nobody_knows_the_risk(
    entry: AdviceEntry | None,
    missing: IncidentMissing | None,
    can_write: bool,  # noqa: FBT001 - a column of the table
    action: str,
) -> None:
    """No entry, one that is late, a word that does not exist: all the same."""
    assert risk_of(entry) is None
    assert ruling(entry, missing=missing, can_write=can_write).action == action


def test_the_reason_names_the_rules() -> None:
    """Those that decided, each once, and the first one's message."""
    found = says(
        "critical",
        because("tools.all", "medium"),
        because("secret.aws", "critical", "looks like a key"),
        because("shell.rm", "critical"),
        because("secret.aws", "critical"),
    )
    assert ruling(found, missing=None, can_write=False) == Ruling(
        "refuse", "risk critical: secret.aws, shell.rm: looks like a key"
    )


def test_reasons_that_are_strange() -> None:
    """Too many, too long, of another severity, without a rule, no list: there is a reason, and it is short."""
    many = ruling(says("high", *(because(f"rule.{n}", "high") for n in range(8))), missing=None, can_write=False)
    assert many.reason == "risk high: rule.0, rule.1, rule.2, rule.3, rule.4 and 3 more: a message"
    long = ruling(says("high", because("rule", "high", "x" * 900)), missing=None, can_write=False)
    assert len(long.reason or "") == 500
    other = ruling(says("high", because("rule", "medium", None)), missing=None, can_write=False)
    assert other.reason == "risk high: rule"
    for strange in (
        says("high", "text", because(3, "high")),
        says("high").model_copy(update={"advice": {"risk": "high"}}),
    ):
        assert ruling(strange, missing=None, can_write=False).reason == "risk high"


def test_incidents_last_word() -> None:
    """The router's own, where the sage has not answered; else what became of asking it; else nothing."""
    late, own = says("high", status="late"), says("low")
    assert incident_entry((late, AdviceEntry(sage="task", status="ok"), own)) == own
    assert incident_entry((own, late)) == own
    assert incident_entry((late,)) == late
    assert incident_entry(()) is None


@pytest.mark.parametrize(
    ("workload", "options", "can_write"),
    [
        ("claude", {}, False),
        ("claude", {"allowed_tools": ["Read", "Grep"]}, False),
        ("claude", {"allowed_tools": ["Read", "Bash(git log:*)"]}, True),
        ("claude", {"allowed_tools": ["Edit"]}, True),
        ("claude", {"allowed_tools": ["Write"]}, True),
        ("claude", {"allowed_tools": ["NotebookEdit"]}, True),
        ("claude", {"allowed_tools": ["Read"], "permission_mode": "acceptEdits"}, True),
        ("claude", {"permission_mode": "bypassPermissions"}, True),
        ("claude", {"permission_mode": "plan", "allowed_tools": "Bash"}, False),
        ("claude", {"allowed_tools": [3, None]}, False),
        ("python", {"allowed_tools": ["Bash"]}, False),
    ],
)
def test_tools_that_write(workload: str, options: dict[str, Any], can_write: bool) -> None:  # noqa: FBT001 - a table
    """By name, whatever uses of it are allowed, or by permission mode."""
    assert tools_can_write(workload, options) is can_write
