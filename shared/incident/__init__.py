"""The incident rules: how risky a job is, from its content and its options alone.

The sage `incident` runs them, and so does the router where the sage is silent.
"""

from shared.incident.rule_set import JudgedTooLongError, judge
from shared.incident.secret_rules import load
from shared.incident.verdict import MAX_REASONS, RULES_VERSION, Reason, Severity, Verdict, with_reason

__all__ = [
    "MAX_REASONS",
    "RULES_VERSION",
    "JudgedTooLongError",
    "Reason",
    "Severity",
    "Verdict",
    "judge",
    "load",
    "with_reason",
]
