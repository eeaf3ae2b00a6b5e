"""Templates of operators over values of anybody: each costs its own message alone, whatever it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
from jinja2 import TemplateError

from services.notifier.planner.planner import wants
from services.notifier.rules.schema import Rule
from services.notifier.templates import process
from services.notifier.templates.process import TemplateFailedError, TemplateProcess
from services.notifier.templates.sandbox import MAX_HTML_CHARACTERS, check_template
from tests.unit.notifier.events import ended

VALUES: dict[str, Any] = {"reason": "x" * 5_000, "width": "1000000000", "labels": {"secret": "hunter2"}}
LOOP = "{% for i in range(99999) %}"
HOSTILE = {
    "nested loops": LOOP * 4 + "{% endfor %}" * 4,
    "loops over what came": "{% for a in reason %}" * 3 + "{% endfor %}" * 3,
    "a long text": "{{ 'x' * 10**10 }}",
    "long texts at once": "{% set t = 'x' * 10**8 %}{{ t ~ t ~ t ~ t ~ t ~ t }}",
    "a large number": "{{ 9 ** (9 ** 9) }}",
    "doubled": "{% set n = namespace(t='xxxxxxxx') %}" + LOOP + "{% set n.t = n.t ~ n.t %}{% endfor %}",
    "a range": "{{ range(10**9) | list | length }}",
    "a deep macro": "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "centred": "{{ 'x' | center(10**10) }}",
    "indented": "{{ ('\\n' * 10**6) | indent(10**6, blank=true) }}",
    "joined": "{{ (['x' * 10**7] * 1000) | join }}",
    "a width": "{{ '%10000000000d' % 1 }}",
    "a width that came": "{{ ('%' ~ width ~ 'd') % 1 }}",
    "formatted": "{{ '{:>10000000000}'.format(1) }}",
    "escaping that is computed": "{% autoescape 9 ** (9 ** 9) %}x{% endautoescape %}",
}


@pytest.fixture
async def templates() -> AsyncIterator[TemplateProcess]:
    """Ended afterwards."""
    process = TemplateProcess()
    yield process
    await process.close()


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
async def test_what_takes_too_much_is_refused(source: str, templates: TemplateProcess) -> None:
    """Within its time, in another process than the service's, whose loop goes on; the next template is rendered."""
    check_started = time.process_time()
    check_template(source)
    assert time.process_time() - check_started < 1
    with pytest.raises(TemplateFailedError):
        await templates.texts("title", source, None, VALUES)
    assert await templates.texts("{{ width }}", "b", None, VALUES) == ("1000000000", "b", None)


async def test_the_loop_goes_on_meanwhile(templates: TemplateProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats are not held up; what ends it is the limit of its processor time, not that of its answer."""
    monkeypatch.setattr(process, "ANSWER_SECONDS", 600.0)
    asking = asyncio.ensure_future(templates.texts("title", HOSTILE["nested loops"], None, VALUES))
    turns = 0
    try:
        async with asyncio.timeout(60):
            while not asking.done():
                await asyncio.sleep(0.01)
                turns += 1
    finally:
        asking.cancel()
    assert turns > 10
    with pytest.raises(TemplateFailedError, match="processor time"):
        await asking


async def test_a_render_that_is_cancelled_leaves_no_process(templates: TemplateProcess) -> None:
    """And the next one is rendered by another."""
    asking = asyncio.ensure_future(templates.texts("title", HOSTILE["nested loops"], None, VALUES))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await templates.texts("t", "b", None, VALUES) == ("t", "b", None)


async def test_a_process_that_ended_between_two_messages_costs_none(templates: TemplateProcess) -> None:
    """As when the kernel needs its memory: the next message is rendered by a new one."""
    before = set(psutil.Process().children())
    assert await templates.texts("{{ width }}", "b", None, VALUES) == ("1000000000", "b", None)
    (child,) = set(psutil.Process().children()) - before
    child.kill()
    _see_its_end(child.pid)
    assert await templates.texts("{{ width }}", "b", None, VALUES) == ("1000000000", "b", None)


def _see_its_end(pid: int) -> None:
    """The loop stands still meanwhile: it has not learnt of the end when the next message comes."""
    with contextlib.suppress(ChildProcessError):  # the thread that tells the loop was the first to see it
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_halves_of_characters_are_made_whole(templates: TemplateProcess) -> None:
    """An emoji as JSON would escape it is two texts to a template; alone, a half fits into no record."""
    made = await templates.texts(r"{{ '\ud83d\ude00\ud83d' }}", r"{{ '\ud83d' }}", r"{{ '\ude00' }}", VALUES)
    assert made == ("\U0001f600?", "?", "?")


async def test_what_fails_is_told_without_the_values(templates: TemplateProcess) -> None:
    """The class of what was raised, and the line of the template."""
    with pytest.raises(TemplateFailedError, match="UndefinedError in line 2") as refused:
        await templates.texts("t", "\n{{ reason[labels.secret] }}", None, VALUES)
    assert "hunter2" not in str(refused.value)


async def test_html_is_bounded(templates: TemplateProcess) -> None:
    """It cannot be cut, so that it is refused."""
    with pytest.raises(TemplateFailedError):
        await templates.texts("t", "b", f"{{{{ 'x' * {MAX_HTML_CHARACTERS + 1} }}}}", VALUES)


@pytest.mark.parametrize(
    "source",
    ["{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}", "{% if 1 %}" * 800 + "{% endif %}" * 800, "{{ nothing | no }}"],
)
def test_what_cannot_be_compiled(source: str) -> None:
    """It is told when the rules are read."""
    with pytest.raises(TemplateError):
        check_template(source)


def test_globs_take_no_time() -> None:
    """Nor do those that many others are slow on."""
    rule = Rule.model_validate(
        {"name": "r", "on": "end", "channels": "c", "match": {"labels": {"team": "*a" * 127 + "*b"}}}
    )
    started = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    assert not wants(rule, ended(labels={"team": "a" * 4_096}))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - started < 0.5
