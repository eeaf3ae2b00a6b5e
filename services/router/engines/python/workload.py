"""The workload `python`: calls an importable function with each item, in a process of its own."""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from fnmatch import fnmatchcase

from pydantic import JsonValue

from eldermesh.shield import to_its_end
from services.router.engines.python.idle_hosts import IdleHosts
from services.router.engines.python.item_process import HostEndedError, HostTimeoutError, ItemProcess
from shared.errors import DeadLetterError
from shared.settings import Settings
from shared.workloads import ItemCall, ItemFailed, ItemOutcome, Queue, RunContext

_MAX_FUNCTION_CHARACTERS = 300


class PythonRun:
    """The calls of one chunk. Item hosts are kept between chunks, and replaced when they die."""

    def __init__(self, process: ItemProcess, context: RunContext) -> None:
        self._process = process
        self._timeout_seconds = context.item_timeout_seconds
        self._max_deaths = context.settings.max_item_deaths
        self._function = str(context.options.get("function"))
        self._is_allowed = is_allowed(self._function, context.settings)
        # The worker's own settings apply, too.
        self._asked_at_once = min(_asked_at_once(context.options), context.settings.python_at_once)
        self._deaths: Counter[int] = Counter()
        self._suspects: set[int] = set()
        """Items that ran when others may have ended the host: they run one by one."""

    @property
    def at_once(self) -> int:
        """How many calls may run at a time."""
        return 1 if self._process.can_run_at_once(self._function) is False else self._asked_at_once

    async def slice(
        self, calls: Sequence[ItemCall], begin_until: Callable[[], float]
    ) -> AsyncGenerator[list[tuple[ItemCall, ItemOutcome]]]:
        """Call the function; an item whose host dies is tried again, `max_item_deaths` times in all.

        Where several run at once, it is not known which is to blame, or whether what another has left behind in their
        event loop is: those that ran run again one by one, before all others.

        Raises:
            RunKilledError: `kill` was called.
            RetryableError: no item host could be started.
        """
        if not self._is_allowed:
            message = f"MESH_PYTHON_FUNCTIONS does not allow {self._function}"
            yield [(call, ItemFailed("denied", message, call.attempt)) for call in calls]
            return
        left = {call.index: call for call in calls}
        while left:
            suspects = [call for call in left.values() if call.index in self._suspects]
            asked, at_once = (suspects, 1) if suspects else (list(left.values()), self.at_once)
            try:
                async with aclosing(self._answered(asked, begin_until, at_once)) as answered:
                    async for ended in answered:
                        for call, _ in ended:
                            del left[call.index]
                        yield [(call, self._ended(call, outcome)) for call, outcome in ended]
            except HostEndedError as end:
                ran = [asked[position] for position in end.running]
                if not ran and not end.was_idle and asked[0].index in left:
                    ran = asked[:1]  # nothing has begun in a new host: blame it, or this would go on for ever
                if (failed := self._failed(ran, end)) is not None:
                    del left[ran[0].index]
                    yield [(ran[0], failed)]
            else:
                if any(call.index in left for call in asked):  # no time was left for it
                    return

    def _failed(self, ran: Sequence[ItemCall], end: HostEndedError) -> ItemOutcome | None:
        """The outcome of the item that ran alone when its host ended; None: what ran is tried again."""
        if end.at_once or not ran:
            self._suspects.update(call.index for call in ran)
            return None
        (call,) = ran
        if isinstance(end, HostTimeoutError):
            return self._ended(call, ItemFailed("timeout", str(end)))
        self._deaths[call.index] += 1
        if self._deaths[call.index] < self._max_deaths:
            return None
        self._deaths[call.index] -= 1  # the last try is none of those before it
        return self._ended(call, ItemFailed("crashed", f"{end}; tried {self._max_deaths} times", call.attempt))

    def _ended(self, call: ItemCall, outcome: ItemOutcome) -> ItemOutcome:
        """The outcome of an item, with the deaths before it among its attempts."""
        deaths = self._deaths.pop(call.index, 0)
        self._suspects.discard(call.index)
        return replace(outcome, attempt=call.attempt + deaths) if deaths else outcome

    async def _answered(
        self, calls: Sequence[ItemCall], begin_until: Callable[[], float], at_once: int
    ) -> AsyncGenerator[list[tuple[ItemCall, ItemOutcome]]]:
        items = [call.item for call in calls]
        given = self._process.slice(
            self._function, items, timeout_seconds=self._timeout_seconds, before=begin_until, at_once=at_once
        )
        async with aclosing(given):
            async for outcomes in given:
                yield [(calls[position], outcome) for position, outcome in outcomes]

    def kill(self) -> None:
        """Kill the item host and all that the function started."""
        self._process.kill()


def _asked_at_once(options: Mapping[str, JsonValue]) -> int:
    asked = options.get("at_once", 1)
    return asked if isinstance(asked, int) else 1


class PythonWorkload:
    """`{"function": "module:qualname"}`: `function(item)` is called, and awaited if it returns an awaitable.

    With `"at_once": n` so many calls of a coroutine function run at a time in each chunk.
    """

    name = "python"
    queue: Queue = "batch_tasks"
    flush_each_item = False

    def __init__(self) -> None:
        self._idle = IdleHosts()

    def validate(
        self,
        options: Mapping[str, JsonValue],
        items: Sequence[JsonValue] | None,  # noqa: ARG002 - the function takes any item
        settings: Settings,
    ) -> None:
        """Check the options; the module is not imported here.

        Raises:
            DeadLetterError: `invalid`: unknown or wrong options, or a function that is not allowed.
        """
        unknown = sorted(set(options) - {"function", "at_once"})
        if unknown:
            raise DeadLetterError("invalid", f"options of python: unknown {unknown[0][:80]!r}")
        function = options.get("function")
        if not isinstance(function, str) or not is_function_name(function):
            raise DeadLetterError("invalid", 'options of python: {"function": "module:name"} is required')
        if not is_allowed(function, settings):
            raise DeadLetterError("invalid", f"options of python: MESH_PYTHON_FUNCTIONS does not allow {function}")
        at_once, most = options.get("at_once", 1), settings.python_at_once
        if not isinstance(at_once, int) or isinstance(at_once, bool) or not 1 <= at_once <= most:
            raise DeadLetterError(
                "invalid", f"options of python: at_once is a whole number from 1 to {most} (MESH_PYTHON_AT_ONCE)"
            )

    @asynccontextmanager
    async def open(self, context: RunContext) -> AsyncIterator[PythonRun]:
        """A run that uses an idle item host of the tenant, if there is one."""
        process = self._idle.take(context.tenant) or ItemProcess()
        try:
            yield PythonRun(process, context)
        finally:
            await to_its_end(self._idle.keep(context.tenant, process))

    async def close(self) -> None:
        """End the idle item hosts."""
        await self._idle.close()


def is_function_name(text: str) -> bool:
    """Whether this is `module:qualname` of plain public names: `math:sqrt`, `package.module:Class.method`."""
    module, colon, qualname = text.partition(":")
    names = qualname.split(".")
    return (
        len(text) <= _MAX_FUNCTION_CHARACTERS
        and colon == ":"
        and all(name.isidentifier() and not keyword.iskeyword(name) for name in (*module.split("."), *names))
        and not any(name.startswith("_") for name in names)  # `math:__loader__.…` is not a function of the module
    )


def is_allowed(function: str, settings: Settings) -> bool:
    """Whether the settings' globs allow a function."""
    return is_function_name(function) and any(fnmatchcase(function, glob) for glob in settings.python_functions)
