"""The demo's chapters on the other engines: many items on Ray, prompts through the Claude CLI."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from uuid import uuid4

from eldermesh.contract.ids import job_id_from_key
from eldermesh_cli.demo.directory import DemoPlace
from eldermesh_cli.demo.job_follower import (
    Followed,
    check_completed,
    follow_in_view,
    spans_of_items,
    spans_without_parent,
    whole_trace,
)
from eldermesh_cli.demo.job_row import JobRow
from eldermesh_cli.demo.screen import Screen

_LARGE_ITEMS = 400
_FACTORS = "eldermesh_cli.demo.work:prime_factors"
_FIRST_NUMBER = 10**9 + 1
_PROMPTS = (
    "In one sentence: what is Python's `heapq` module for?",
    "In one sentence: what is Python's `contextvars` module for?",
    "In one sentence: what is Python's `selectors` module for?",
)
_MODEL_CALL = "claude_code.llm_request"
_SHOWN_CHARACTERS = 90


@dataclass(slots=True)
class EngineChapters:
    """Two chapters.

    Attributes:
        screen: where they are told.
        place: where the mesh runs.
        bootstrap: its broker.
        trace_url: where its traces can be asked for.
    """

    screen: Screen
    place: DemoPlace
    bootstrap: str
    trace_url: str

    def large_job(self, number: int) -> JobRow:
        """Four hundred numbers, factorised on Ray."""
        screen = self.screen
        screen.chapter(number, "A large job, on Ray")
        numbers = [_FIRST_NUMBER + 2 * index for index in range(_LARGE_ITEMS)]
        screen.say(
            f"{_LARGE_ITEMS} numbers to factorise: from 100 items on, a job goes to the Ray cluster. The first such "
            "job waits for Ray to start; the same chunk runner works there, in actors."
        )
        followed = self._follow({"workload": "python", "options": {"function": _FACTORS}, "items": list(numbers)})
        products = [math.prod(_integers(result.output)) for result in followed.results]
        screen.check("it ran on Ray", holds=followed.end.engine == "ray", found=followed.end.engine)
        screen.check(
            "the factors multiply to each number", holds=products == numbers, found=f"{len(products)} products"
        )
        self._trace(followed, items=_LARGE_ITEMS)
        return JobRow.of("factors", followed)

    def prompts(self, number: int) -> JobRow:
        """Three prompts through the real CLI."""
        screen = self.screen
        screen.chapter(number, "Prompts, through the real Claude CLI")
        endpoint = self.place.runtime().claude_endpoint
        screen.say(
            "No credentials are set, so the CLI speaks to the loopback endpoint that comes with the mesh: the program, "
            "its processes and its spans are real, the answers are made up."
            if endpoint is not None
            else "The CLI speaks to the address and with the key that the settings name."
        )
        followed = self._follow({"workload": "claude", "items": list(_PROMPTS)})
        rows = [
            (_PROMPTS[result.item_index], _shortened(result.output), f"{result.cost_usd or 0:.6f}")
            for result in followed.results
        ]
        screen.table("Prompts", ("prompt", "answer", "US $"), rows)
        answered = [result for result in followed.results if isinstance(result.output, str) and result.output.strip()]
        screen.check("every prompt has an answer", holds=len(answered) == len(_PROMPTS), found=len(answered))
        cost = followed.end.cost_usd
        screen.check("the end says what it cost", holds=cost is not None and cost > 0, found=cost)
        self._trace(followed, items=len(_PROMPTS), model_calls=len(_PROMPTS))
        return JobRow.of("prompts", followed)

    def _follow(self, record: dict[str, object]) -> Followed:
        key = f"demo-{uuid4()}"
        record = {**record, "idempotency_key": key}
        followed = follow_in_view(self.screen, self.bootstrap, job_id_from_key("default", key), record)
        check_completed(self.screen, followed.end)
        return followed

    def _trace(self, followed: Followed, *, items: int, model_calls: int = 0) -> None:
        screen = self.screen
        spans = asyncio.run(whole_trace(self.trace_url, followed.end.trace_id, items, {_MODEL_CALL: model_calls}))
        self.place.mesh.show("trace", followed.end.job_id, "--alike", "1")
        ran, lost = len(spans_of_items(spans)), len(spans_without_parent(spans))
        screen.check(f"one trace holds all {items} items", holds=(ran, lost) == (items, 0), found=f"{ran}, {lost} lost")
        if model_calls:
            calls = sum(span.name == _MODEL_CALL for span in spans)
            screen.check("it reaches down to each call of the model", holds=calls >= model_calls, found=calls)


def _integers(output: object) -> list[int]:
    return [number for number in output if isinstance(number, int)] if isinstance(output, list) else []


def _shortened(output: object) -> str:
    text = output if isinstance(output, str) else json.dumps(output)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
