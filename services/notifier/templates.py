"""Jinja2, sandboxed: templates of operators over values that came from anybody. HTML is escaped, plain text is not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TITLE_CHARACTERS = 200
MAX_TEXT_CHARACTERS = 8_000

END_TITLE = "Job {{ status }}: {{ workload }}{% if tenant != 'default' %} ({{ tenant }}){% endif %}"
END_BODY = """\
Job {{ job_id }} {{ 'was ' if status in ('cancelled', 'rejected') else '' }}{{ status }} after {{ duration }}\
{% if cost %}, for {{ cost }}{% endif %}.
{% if reason %}Reason: {{ reason }}
{% endif %}\
{% if items_total is not none %}Items: {{ items_succeeded }} of {{ items_total }} succeeded\
{% if items_failed %}, {{ items_failed }} failed{% endif %}\
{% if items_not_run %}, {{ items_not_run }} not run{% endif %}.
{% endif %}\
Look: mesh why {{ job_id }}\
{% if trace_url %}
Trace: {{ trace_url }}{% endif %}"""

HOLD_TITLE = "Job {{ 'still ' if event == 'reminder' else '' }}held: {{ workload }}\
{% if tenant != 'default' %} ({{ tenant }}){% endif %}"
HOLD_BODY = """\
Job {{ job_id }} waits for a decision until {{ until }}, and is then denied.
Reason: {{ reason }}
{% if submitted_by %}Submitted by: {{ submitted_by }}, who cannot decide.
{% endif %}\
Decide: mesh approve {{ job_id }}, or mesh reject {{ job_id }}\
{% if trace_url %}
Trace: {{ trace_url }}{% endif %}"""

_HTML = """\
<h2>{{ title }}</h2>
<p>{% for line in body.splitlines() %}{{ line }}{% if not loop.last %}<br>
{% endif %}{% endfor %}</p>
"""

_PLAIN = ImmutableSandboxedEnvironment(autoescape=False, undefined=StrictUndefined)
_ESCAPED = ImmutableSandboxedEnvironment(autoescape=True, undefined=StrictUndefined)


@lru_cache(maxsize=1024)
def _compiled(source: str, *, escaped: bool) -> Template:
    return (_ESCAPED if escaped else _PLAIN).from_string(source)


def check_template(source: str) -> None:
    """Compile a template.

    Raises:
        TemplateError: its syntax is wrong.
    """
    _compiled(source, escaped=False)


def title_text(source: str, values: Mapping[str, Any]) -> str:
    """One line.

    Raises:
        TemplateError: it names what there is not, or the sandbox refused it.
    """
    text = " ".join(_compiled(source, escaped=False).render(values).split())
    return _cut(text, MAX_TITLE_CHARACTERS)


def body_text(source: str, values: Mapping[str, Any]) -> str:
    """Plain text; raises as `title_text`."""
    return _cut(_compiled(source, escaped=False).render(values).strip(), MAX_TEXT_CHARACTERS)


def body_html(source: str | None, values: Mapping[str, Any]) -> str:
    """HTML, every value escaped; without a template `title` and `body` of the values. Raises as `title_text`."""
    # Not cut: half a tag would be worse. The values are bounded by their records.
    return _compiled(_HTML if source is None else source, escaped=True).render(values)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
