"""Renders the message for an event and a rule."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from eldermesh.contract.ends import JobEnd
from eldermesh.contract.times import format_time
from services.notifier.planner.occurrence import Occurrence
from services.notifier.rules.channels import Channel, EmailChannel, WebhookChannel
from services.notifier.rules.schema import Rule, Template
from services.notifier.templates.process import TemplateFailedError, TemplateProcess
from services.notifier.templates.sandbox import DEFAULT_HTML, END_BODY, END_TITLE, HOLD_BODY, HOLD_TITLE, texts
from shared.facts.notifications import Severity
from shared.logs.setup import get_logger
from shared.telemetry.trace_page import trace_page

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SEVERITIES: dict[str, Severity] = {"completed": "success", "cancelled": "warning"}

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The texts of a message; the channel decides which are set."""

    title: str
    body: str
    html: str | None
    payload: str | None


def severity_of(occurrence: Occurrence) -> Severity:
    """The severity, for channels with colours."""
    if isinstance(occurrence.record, JobEnd):
        return _SEVERITIES.get(occurrence.record.status, "failure")
    return "warning"


async def render(
    rule: Rule, channel: Channel, occurrence: Occurrence, templates: TemplateProcess, *, trace_ui_url: str | None
) -> Rendered:
    """The message. If a template fails on this event, the default one is used, and that is logged.

    Raises:
        RetryableError: no process for templates can be started.
    """
    values = template_values(occurrence, trace_ui_url)
    sources = _sources(rule.template, channel, occurrence)
    defaults = _sources(Template(), channel, occurrence)
    if sources == defaults:
        made = texts(*defaults, values)
    else:
        try:
            made = await templates.texts(*sources, values)
        except TemplateFailedError as error:
            _log.warning("a template failed, the default one is used", rule=rule.name, reason=str(error))
            made = texts(*defaults, values)
    title, body, html = made
    title = title or "Notice"
    body = body or title
    if isinstance(channel, WebhookChannel):
        return Rendered(title, body, None, _payload(rule, occurrence, title, body, values["trace_url"]))
    return Rendered(title, body, html, None)


def template_values(occurrence: Occurrence, trace_ui_url: str | None) -> dict[str, Any]:
    """The variables of templates: the fields of the public record, and a few formatted ones."""
    record = occurrence.record
    values: dict[str, Any] = record.model_dump(mode="json")
    values |= {
        "event": occurrence.kind,
        "at": format_time(occurrence.at_ms),
        "trace_url": trace_page(trace_ui_url, record.trace_id),
    }
    if isinstance(record, JobEnd):
        seconds = occurrence.duration_seconds or 0.0
        values |= {"duration_seconds": seconds, "duration": duration_words(seconds)}
        values["cost"] = None if record.cost_usd is None else f"${record.cost_usd:,.2f}"
    return values


def duration_words(seconds: float) -> str:
    """As `3 min 20 s`, of at most two units."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    units = ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min"), (_MINUTE, "min", 1, "s"))
    unit, name, smaller, its_name = next(each for each in units if whole >= each[0])
    rest = whole % unit // smaller
    return f"{whole // unit} {name} {rest} {its_name}" if rest else f"{whole // unit} {name}"


def _sources(template: Template, channel: Channel, occurrence: Occurrence) -> tuple[str, str, str | None]:
    is_end = occurrence.kind == "end"
    title = template.title or (END_TITLE if is_end else HOLD_TITLE)
    body = template.body or (END_BODY if is_end else HOLD_BODY)
    # A rule with its own body and no HTML sends plain text only.
    has_html = isinstance(channel, EmailChannel) and (template.html is not None or template.body is None)
    return title, body, (template.html or DEFAULT_HTML) if has_html else None


def _payload(rule: Rule, occurrence: Occurrence, title: str, body: str, trace_url: str | None) -> str:
    """The body of a webhook: type, time and data, as Standard Webhooks have it."""
    return json.dumps(
        {
            "type": occurrence.event_type,
            "timestamp": format_time(occurrence.at_ms),
            "data": {
                "event": occurrence.kind,
                "rule": rule.name,
                "title": title,
                "text": body,
                "record": occurrence.record.model_dump(mode="json"),
                "trace_url": trace_url,
            },
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
