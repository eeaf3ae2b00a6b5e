"""Advice in lines for people."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from eldermesh_cli.follow.job_lines import advice_pairs, why_text


def entry(sage: str, status: str = "ok", **advice: JsonValue) -> dict[str, JsonValue]:
    """An entry as `--json` has it."""
    return {"sage": sage, "status": status, "advice": advice}


def lines(*entries: dict[str, JsonValue]) -> dict[str, str]:
    """The lines that are there, by name."""
    return {name: text for name, text in advice_pairs(entries) if text is not None}


SECONDS: Any = {"p10": 1.5, "p50": 2.0, "p90": 10}


def test_the_estimate_has_its_samples() -> None:
    """Duration, and queue and cost if they are known; without a duration there is none."""
    assert lines(entry("task", samples=14, duration_seconds=SECONDS, queue_seconds=SECONDS, cost_usd=SECONDS)) == {
        "estimate": "2 s (1.5 to 10), queued before 2 s (1.5 to 10), cost 2 USD (1.5 to 10), from 14 jobs"
    }
    assert lines(entry("task", samples=1, duration_seconds=SECONDS)) == {"estimate": "2 s (1.5 to 10), from 1 job"}
    long: Any = {"p10": 3.5843, "p50": 17.0935, "p90": 4030.6027}
    assert lines(entry("task", samples=2, duration_seconds=long)) == {"estimate": "17.1 s (3.58 to 4031), from 2 jobs"}
    assert lines(entry("task", samples=0, duration_seconds=None, queue_seconds=SECONDS)) == {}
    assert lines(entry("task", samples=2, duration_seconds={"p50": 1})) == {}


def test_the_risk_and_who_says_so() -> None:
    """The last word counts."""
    because: JsonValue = [{"rule": "secret.aws", "severity": "critical", "message": "looks like a key"}, "odd"]
    assert lines(entry("incident", risk="low", reasons=[])) == {"risk": "low"}
    assert lines(
        entry("incident", "late"),
        entry("panel", "late"),
        entry("incident", risk="critical", reasons=because, by="router"),
    ) == {
        "risk": "critical by the router's own rules: secret.aws: looks like a key",
        "no advice": "incident (late); panel (late)",
    }
    neither = lines(entry("incident", "late"), entry("incident", "late", by="router"))
    assert neither == {"no advice": "incident (late)"}
    assert lines(entry("incident", risk="low", reasons="none")) == {"risk": "low"}


def test_citations_lessons_and_silence() -> None:
    """Five of each, and how many more; who did not answer, and why."""
    passages: list[JsonValue] = [{"text": "t", "citation": f"docs/{n}.md", "title": "T"} for n in range(6)]
    shown = lines(
        entry("rag", passages=[*passages, {"title": "only a title"}, {"text": "nothing"}, "odd"]),
        entry("knowledge", lessons=[{"text": "be brief", "source": "note 1"}]),
        entry("task", "warming"),
    )
    assert shown == {
        "passages": "docs/0.md; docs/1.md; docs/2.md; docs/3.md; docs/4.md; 2 more",
        "lessons": "be brief",
        "no advice": "task (warming)",
    }
    assert lines(entry("rag", passages="none"), {"sage": "odd", "status": "ok", "advice": []}) == {}


def test_why_says_more_than_the_state() -> None:
    """A cancel without a reason has the word of its state for one."""
    assert why_text("failed", "timeout", "active for 3 s") == "timeout: active for 3 s"
    assert why_text("cancelled", "cancelled", "not needed") == "not needed"
    assert why_text("cancelled", "cancelled", None) is None
    assert why_text("running", None, None) is None
