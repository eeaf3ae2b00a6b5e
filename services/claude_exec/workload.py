"""The workload `claude`: each item is a prompt, run by the real CLI."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from pydantic import JsonValue

from services.claude_exec.advice_frame import framed
from services.claude_exec.cli.run_directory import remove_abandoned
from services.claude_exec.options import ClaudeOptions, judge_prompts, judged_options, prompt_of
from services.claude_exec.outcomes.outcome import ClaudeOutcome
from shared.errors import DeadLetterError
from shared.settings import Settings
from shared.workloads import (
    ItemCall,
    ItemFailed,
    ItemOutcome,
    ItemSucceeded,
    PauseJobError,
    Queue,
    RunContext,
    RunKilledError,
)

_REASON_CHARACTERS = 500


class RunningPrompt(Protocol):
    """What a run needs of an `Execution`."""

    async def run(self) -> ClaudeOutcome:
        """Run it to its outcome."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class ClaudeRun:
    """One chunk's prompts, one after another, each in a CLI of its own."""

    def __init__(self, context: RunContext, execution: Callable[..., RunningPrompt]) -> None:
        self._context = context
        self._execution = execution
        self._running: RunningPrompt | None = None
        self._killed = False

    async def item(self, call: ItemCall) -> ItemOutcome:
        """Run one prompt.

        Raises:
            RunKilledError: `kill` was called.
            PauseJobError: the API says that a limit is reached.
            RetryableError: this machine has no process, directory or space for a CLI now.
        """
        if self._killed:
            raise RunKilledError
        settings = self._context.settings
        try:
            options: ClaudeOptions = judged_options(self._context.options, settings)
        except DeadLetterError as error:  # this worker may have other settings than the one that admitted it
            return ItemFailed("denied", error.reason, call.attempt)
        try:
            prompt = prompt_of(call.item)
        except DeadLetterError as error:  # admission does not see items of a reference
            return ItemFailed("exception", error.reason, call.attempt)
        self._running = self._execution(
            framed(prompt, self._context.advice, tokens=settings.claude_context_tokens),
            options,
            settings,
            timeout_seconds=self._context.item_timeout_seconds,
            traceparent=call.traceparent,
            tracestate=call.tracestate,
            longest_wait_seconds=settings.claude_wait_seconds,
        )
        try:
            self._context.check_claim()
            outcome = await self._running.run()
        finally:
            self._running = None
        if self._killed:
            raise RunKilledError
        if (pause := pause_of(outcome, first_attempt=call.attempt)) is not None:
            raise pause
        return item_outcome(outcome, first_attempt=call.attempt)

    def kill(self) -> None:
        """Kill the CLI and all its descendants."""
        self._killed = True
        if self._running is not None:
            self._running.kill()


class ClaudeWorkload:
    """Items are prompts, `"text"` or `{"prompt": "text"}`; options are those of `ClaudeOptions`."""

    name = "claude"
    queue: Queue = "claude_tasks"
    flush_each_item = True

    def __init__(self) -> None:
        self._is_tidy = False

    def validate(self, options: Mapping[str, JsonValue], items: Sequence[JsonValue] | None, settings: Settings) -> None:
        """Check options and prompts.

        Raises:
            DeadLetterError: `invalid`: options that are unknown, wrong, contradict each other or the settings; an item
                that is no prompt, or an empty one.
        """
        judged_options(options, settings)
        judge_prompts(items or ())

    @asynccontextmanager
    async def open(self, context: RunContext) -> AsyncIterator[ClaudeRun]:
        """A run of one chunk. The first run removes the directories of killed workers."""
        if not self._is_tidy:
            self._is_tidy = True
            await asyncio.to_thread(remove_abandoned, context.settings)
        # Imported late: the SDK takes a second, and routers only validate.
        executor = await asyncio.to_thread(importlib.import_module, "services.claude_exec.executor")
        yield ClaudeRun(context, executor.Execution)

    async def close(self) -> None:
        """Nothing is kept between runs."""


def pause_of(outcome: ClaudeOutcome, *, first_attempt: int) -> PauseJobError | None:
    """The pause that an outcome asks for: a limit, or an API that says when to retry; None if the item has ended."""
    resume = outcome.retry_after_seconds
    if outcome.outcome != "rate_limited" and (outcome.outcome != "overloaded" or resume is None):
        return None
    return PauseJobError(
        f"{outcome.outcome}: {outcome.message}"[:_REASON_CHARACTERS],
        resume_seconds=resume,
        cost_micros=outcome.cost_micros,
        attempt=first_attempt + outcome.attempts - 1,
    )


def item_outcome(outcome: ClaudeOutcome, *, first_attempt: int) -> ItemOutcome:
    """The item's outcome for the history."""
    attempt = first_attempt + outcome.attempts - 1
    if outcome.outcome == "ok":
        return ItemSucceeded(
            json.dumps(outcome.output, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"),
            attempt=attempt,
            duration_seconds=outcome.duration_seconds,
            cost_micros=outcome.cost_micros,
        )
    return ItemFailed(
        outcome.error_type or "internal",
        outcome.message,
        attempt=attempt,
        duration_seconds=outcome.duration_seconds,
        cost_micros=outcome.cost_micros,
    )
