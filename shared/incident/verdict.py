"""What the rules say of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import JsonValue

RULES_VERSION: Final = "1.0.1"
"""Of the rule pack: a change of what fires or how severe it is changes it."""

Severity = Literal["medium", "high", "critical"]
Risk = Literal["low", "medium", "high", "critical"]

ORDER: Final[Mapping[Risk, int]] = {"low": 0, "medium": 1, "high": 2, "critical": 3}

MAX_REASONS: Final = 16
"""The most severe so many are told: an advice has room for 8 KiB."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule that fired. Nothing in it is taken from the job.

    Attributes:
        rule: `class.name`.
        severity: how bad it is here, with these tools.
        message: for people; of the rule alone.
        item_index: the item that it fired on; None: the options.
    """

    rule: str
    severity: Severity
    message: str
    item_index: int | None = None

    @property
    def rule_class(self) -> str:
        """`secret`, `destructive`, `injection` or `scope`."""
        return self.rule.partition(".")[0]

    def as_json(self) -> dict[str, JsonValue]:
        """As it stands in an advice."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "message": self.message,
            "item_index": self.item_index,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """How risky a job is: the most severe of its reasons, `low` without any. The worst reasons stand first."""

    risk: Risk
    reasons: tuple[Reason, ...]
    mitigations: tuple[str, ...]
    reasons_total: int

    def as_advice(self) -> dict[str, JsonValue]:
        """The advice of the sage `incident`, without a failure rate."""
        advice: dict[str, JsonValue] = {
            "risk": self.risk,
            "reasons": [reason.as_json() for reason in self.reasons],
            "mitigations": list(self.mitigations),
            "rules_version": RULES_VERSION,
            "failure_rate": None,
        }
        if self.reasons_total > len(self.reasons):
            advice["reasons_total"] = self.reasons_total
        return advice


def with_reason(verdict: Verdict, reason: Reason, mitigation: str) -> Verdict:
    """The verdict and one more reason; the last one of a full list makes room."""
    told = sorted((*verdict.reasons[: MAX_REASONS - 1], reason), key=_rank)
    risk = max(verdict.risk, reason.severity, key=ORDER.__getitem__)
    return Verdict(risk, tuple(told), (*verdict.mitigations, mitigation), verdict.reasons_total + 1)


def verdict_of(reasons: Sequence[Reason], mitigations: Mapping[str, str]) -> Verdict:
    """Sum up; each rule counts once for each item.

    Args:
        reasons: in any order.
        mitigations: what to do, by the class of a rule.
    """
    worst: dict[tuple[str, int | None], Reason] = {}
    for reason in reasons:
        known = worst.get((reason.rule, reason.item_index))
        if known is None or ORDER[known.severity] < ORDER[reason.severity]:
            worst[reason.rule, reason.item_index] = reason
    ordered = sorted(worst.values(), key=_rank)
    classes = dict.fromkeys(reason.rule_class for reason in ordered)
    return Verdict(
        risk=ordered[0].severity if ordered else "low",
        reasons=tuple(ordered[:MAX_REASONS]),
        mitigations=tuple(mitigations[name] for name in classes),
        reasons_total=len(ordered),
    )


def _rank(reason: Reason) -> tuple[int, int, str]:
    return -ORDER[reason.severity], -1 if reason.item_index is None else reason.item_index, reason.rule
