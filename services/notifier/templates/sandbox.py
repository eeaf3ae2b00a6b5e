"""Jinja2 in a sandbox: templates of operators with values from anybody. HTML is escaped, plain text is not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.text.surrogates import whole_characters

MAX_TITLE_CHARACTERS = 200
MAX_TEXT_CHARACTERS = 8_000
MAX_HTML_CHARACTERS = 100_000

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

DEFAULT_HTML = """\
<h2>{{ title }}</h2>
<p>{% for line in body.splitlines() %}{{ line }}{% if not loop.last %}<br>
{% endif %}{% endfor %}</p>
"""


class _Unfolded(CodeGenerator):
    """Evaluates no constants at compile time: `{{ 9 ** (9 ** 9) }}` must fail when it is rendered."""

    def _output_child_to_const(self, *_: object) -> NoReturn:
        raise nodes.Impossible

    def visit_EvalContextModifier(self, node: nodes.EvalContextModifier, frame: Frame) -> None:  # noqa: N802 - jinja2's
        """Evaluate `{% autoescape … %}` when the template is rendered."""
        for keyword in node.options:
            self.writeline(f"context.eval_ctx.{keyword.key} = ")
            self.visit(keyword.value, frame)
        frame.eval_ctx.volatile = True


class _Environment(ImmutableSandboxedEnvironment):
    code_generator_class = _Unfolded


_PLAIN = _Environment(autoescape=False, undefined=StrictUndefined, optimized=False)
_ESCAPED = _Environment(autoescape=True, undefined=StrictUndefined, optimized=False)


@lru_cache(maxsize=1024)
def _compiled(source: str, *, escaped: bool) -> Template:
    return (_ESCAPED if escaped else _PLAIN).from_string(source)


def check_template(source: str) -> None:
    """Compile a template without running it.

    Raises:
        TemplateError: its syntax is wrong, or it is nested too deeply.
    """
    try:
        _PLAIN.compile(source)
    except (SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        raise TemplateError("it is nested too deeply") from error


def texts(title: str, body: str, html: str | None, values: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """Title, plain text and HTML. In HTML every value is escaped; its template may use `title` and `body`.

    Time and memory are not limited here, so templates of operators are rendered in their own process.

    Raises:
        Exception: whatever a template raises.
    """
    title = " ".join(whole_characters(_compiled(title, escaped=False).render(values)).split())
    body = whole_characters(_compiled(body, escaped=False).render(values)).strip()
    title, body = _cut(title, MAX_TITLE_CHARACTERS), _cut(body, MAX_TEXT_CHARACTERS)
    if html is None:
        return title, body, None
    made = whole_characters(_compiled(html, escaped=True).render({**values, "title": title, "body": body}))
    if len(made) > MAX_HTML_CHARACTERS:  # not cut: half a tag would be worse
        raise ValueError(f"the HTML is longer than {MAX_HTML_CHARACTERS:,} characters")
    return title, body, made


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
