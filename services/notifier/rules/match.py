"""Whether a rule wants an event told. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from eldermesh.contract.ends import JobEnd
from services.notifier.planner.occurrence import Occurrence
from services.notifier.rules.schema import Match, Rule


def wants(rule: Rule, occurrence: Occurrence) -> bool:
    """Whether the event is of the rule's kinds, and all of its conditions hold."""
    return occurrence.kind in rule.on and _of_job(rule.match, occurrence) and _of_end(rule.match, occurrence)


def _of_job(match: Match, occurrence: Occurrence) -> bool:
    record = occurrence.record
    return (
        _any(match.workload, record.workload)
        and _any(match.tenant, record.tenant)
        and all(name in record.labels and fnmatchcase(record.labels[name], glob) for name, glob in match.labels.items())
    )


def _of_end(match: Match, occurrence: Occurrence) -> bool:
    record = occurrence.record
    if not isinstance(record, JobEnd):
        return True
    if match.status is not None and record.status not in match.status:
        return False
    if match.min_duration_seconds is not None and (occurrence.duration_seconds or 0) < match.min_duration_seconds:
        return False
    return match.min_cost_usd is None or (record.cost_usd or 0) >= match.min_cost_usd


def _any(globs: tuple[str, ...] | None, text: str) -> bool:
    return globs is None or any(fnmatchcase(text, glob) for glob in globs)
