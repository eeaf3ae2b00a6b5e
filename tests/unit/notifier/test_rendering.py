"""Messages: their words, their escaping, their bounds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import SecretStr

from services.notifier.planner.occurrence import Occurrence
from services.notifier.rules.channels import ConsoleChannel, EmailChannel, WebhookChannel
from services.notifier.rules.schema import Rule
from services.notifier.templates.message import Rendered, duration_words, render, severity_of
from services.notifier.templates.process import TemplateProcess
from tests.unit.notifier.events import JOB, TRACE_ID, ended, held

CONSOLE = ConsoleChannel(type="console")
EMAIL = EmailChannel.model_validate({"type": "email", "host": "h", "from": "a@b.c", "to": ["a@b.c"]})
WEBHOOK = WebhookChannel.model_construct(type="webhook", url=SecretStr("u"), secret=SecretStr("s"))


def rendered(occurrence: Occurrence, channel: Any = CONSOLE, **template: str) -> Rendered:
    """What a rule with this template makes of an event."""
    rule = Rule.model_validate({"name": "my rule", "on": "end", "channels": "c", "template": template})

    async def made() -> Rendered:
        templates = TemplateProcess()
        try:
            return await render(rule, channel, occurrence, templates, trace_ui_url="http://jaeger:16686/")
        finally:
            await templates.close()

    return asyncio.run(made())


def test_an_end_in_words() -> None:
    """Status, workload, duration, cost, reason, items, and how to look."""
    made = rendered(ended())
    assert made.title == "Job failed: claude"
    assert made.body.splitlines() == [
        f"Job {JOB} failed after 3 min 20 s, for $1.25.",
        "Reason: 2 items failed",
        "Items: 7 of 10 succeeded, 2 failed, 1 not run.",
        f"Look: mesh why {JOB}",
        f"Trace: http://jaeger:16686/trace/{TRACE_ID}",
    ]
    assert (made.html, made.payload) == (None, None)


def test_an_end_with_less_to_say() -> None:
    """What is not known is not told."""
    made = rendered(
        ended(status="rejected", tenant="billing", cost_usd=None, reason=None, items_total=None, items_not_run=None)
    )
    assert made.title == "Job rejected: claude (billing)"
    assert made.body.splitlines()[:2] == [f"Job {JOB} was rejected after 3 min 20 s.", f"Look: mesh why {JOB}"]


def test_holds_in_words() -> None:
    """A hold says until when, why, and how to decide; a reminder says that it is one."""
    made = rendered(held())
    assert made.title == "Job held: claude"
    assert made.body.splitlines() == [
        f"Job {JOB} waits for a decision until 2026-11-25T03:23:19.123Z, and is then denied.",
        "Reason: incident says high: destructive command",
        "Submitted by: dana, who cannot decide.",
        f"Decide: mesh approve {JOB}, or mesh reject {JOB}",
        f"Trace: http://jaeger:16686/trace/{TRACE_ID}",
    ]
    assert rendered(held(reminder=True, submitted_by=None, tenant="t")).title == "Job still held: claude (t)"


def test_html_is_escaped_and_plain_text_is_not() -> None:
    """In e-mail nobody's text is markup; elsewhere it stands as it came."""
    reason = "<script>alert(1)</script> & more"
    made = rendered(ended(reason=reason), EMAIL)
    assert reason in made.body
    assert made.html is not None
    assert "<script>" not in made.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in made.html
    assert "<br>" in made.html
    own = rendered(ended(reason=reason), EMAIL, html="<i>{{ reason }}</i>")
    assert own.html == "<i>&lt;script&gt;alert(1)&lt;/script&gt; &amp; more</i>"
    assert rendered(ended(), EMAIL, body="mine").html is None


def test_webhook_payload() -> None:
    """Type, time and data; the record is the public one."""
    occurrence = ended()
    payload = json.loads(rendered(occurrence, WEBHOOK).payload or "")
    assert payload["type"] == "eldermesh.job.failed.v1"
    assert payload["timestamp"] == "2026-11-24T03:26:39.123Z"
    assert payload["data"]["rule"] == "my rule"
    assert payload["data"]["event"] == "end"
    assert payload["data"]["record"] == occurrence.record.model_dump(mode="json")
    assert JOB in payload["data"]["text"]
    assert payload["data"]["trace_url"] == f"http://jaeger:16686/trace/{TRACE_ID}"


@pytest.mark.parametrize(
    "template",
    [
        {"title": "{{ nothing }}"},
        {"body": "{{ 1 / 0 }}"},
        {"body": "{{ ''.__class__.__mro__[1].__subclasses__() }}"},
        {"body": "{{ labels.pop('team') }}"},
        {"body": "{% for i in range(999999999) %}x{% endfor %}"},
    ],
    ids=["unknown", "zero", "sandbox", "immutable", "endless"],
)
def test_a_template_that_fails(template: dict[str, str]) -> None:
    """What a template must not do, or cannot, is replaced by the default message."""
    assert rendered(ended(), **template) == rendered(ended())


def test_templates_are_bounded() -> None:
    """A title is one line of at most 200 characters, a body of at most 8,000; neither is empty."""
    made = rendered(ended(), title="a\n b {{ 'x' * 500 }}", body="{{ 'y' * 20000 }}")
    assert made.title.startswith("a b xxx")
    assert (len(made.title), len(made.body)) == (200, 8000)
    empty = rendered(ended(), title=" ", body=" ")
    assert (empty.title, empty.body) == ("Notice", "Notice")


def test_severities() -> None:
    """Completed is good, cancelled and held are warnings, the rest is bad."""
    assert [severity_of(ended(status=status)) for status in ("completed", "cancelled", "failed", "rejected")] == [
        "success",
        "warning",
        "failure",
        "failure",
    ]
    assert severity_of(held()) == "warning"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (59.4, "59.4 s"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (93_600, "1 d 2 h")],
)
def test_durations(seconds: float, words: str) -> None:
    """At most two units."""
    assert duration_words(seconds) == words
