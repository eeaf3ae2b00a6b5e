"""The rules, put together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from shared.errors import MeshError
from shared.incident.destructive_rules import find_destruction
from shared.incident.injection_rules import find_injection
from shared.incident.scope_rules import find_scope
from shared.incident.secret_rules import Check, find_secrets
from shared.incident.texts import plain, prompt_in, texts_of
from shared.incident.tool_reach import ToolReach
from shared.incident.verdict import Reason, Verdict, verdict_of

LONGEST_CPU_SECONDS: Final = 5.0
"""For one job; the texts of a usual one take some milliseconds."""

_PROMPTED: Final = "claude"
"""The workload whose items are read by a model; the items of others are data."""

_MITIGATIONS: Final = {
    "secret": "Take the secret out, have it replaced where it was issued, and let the job read it from where it runs.",
    "destructive": "Have a person look at the target, take a backup, and allow only the commands that the job needs.",
    "injection": "Look at where the text comes from, and run it without tools that write or send.",
    "scope": "Name the commands in Bash(…), and give the job a directory of its own.",
}


class JudgedTooLongError(MeshError):
    """The rules did not get to an end within the time that one job may take: it counts as not judged."""


def judge(
    workload: str,
    items: Sequence[JsonValue],
    options: Mapping[str, JsonValue],
    *,
    cpu_seconds: float = LONGEST_CPU_SECONDS,
) -> Verdict:
    """How risky a job is. Pure: the same job has the same verdict, which quotes nothing of it.

    Args:
        workload: `claude`, whose items are prompts; those of any other are data, in which only secrets count.
        items: of the job.
        options: of the job.
        cpu_seconds: what the calling thread may spend on it. Some texts are made to take long, and a thread that
            nobody waits for any more cannot be ended from outside.

    Raises:
        JudgedTooLongError: it took longer.
    """
    ends_at = time.thread_time() + cpu_seconds

    def check() -> None:
        if time.thread_time() > ends_at:
            raise JudgedTooLongError(f"the rules took more than {cpu_seconds:g} s")

    return verdict_of(list(_reasons(workload, items, options, check)), _MITIGATIONS)


def _reasons(
    workload: str, items: Sequence[JsonValue], options: Mapping[str, JsonValue], check: Check
) -> Iterator[Reason]:
    is_prompted = workload == _PROMPTED
    for index, content in ((None, dict(options)), *enumerate(items)):
        for text in texts_of(content):
            for finding in find_secrets(text, with_entropy=is_prompted, check=check):
                yield Reason(*finding, item_index=index)
    if is_prompted:
        yield from _reasons_of_prompts(items, options, check)


def _reasons_of_prompts(items: Sequence[JsonValue], options: Mapping[str, JsonValue], check: Check) -> Iterator[Reason]:
    reach = ToolReach.of(options)
    for finding in find_scope(options, reach):
        yield Reason(*finding)
    prompts = [(None, options.get("system_prompt")), *((index, prompt_in(item)) for index, item in enumerate(items))]
    for index, raw in prompts:
        if not isinstance(raw, str):
            continue
        check()
        text = plain(raw)
        for finding in find_destruction(text, reach):
            yield Reason(*finding, item_index=index)
        # A system prompt is instructions: only what comes in can be injected.
        if index is not None:
            for finding in find_injection(raw, text, reach):
                yield Reason(*finding, item_index=index)
