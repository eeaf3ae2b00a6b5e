"""The workload `python`: calls an importable function with each item, in a process of its own."""

from __future__ import annotations

import keyword
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from fnmatch import fnmatchcase

from pydantic import JsonValue

from eldermesh.shield import to_its_end
from services.router.engines.python.item_process import HostDiedError, HostTimeoutError, ItemProcess
from shared.errors import DeadLetterError
from shared.settings import Settings
from shared.workloads import ItemCall, ItemFailed, ItemOutcome, Queue, RunContext

_MAX_FUNCTION_CHARACTERS = 300
_MAX_IDLE_HOSTS = 1
_MAX_KEPT_BYTES = 512 * 1024 * 1024
"""A host with a higher peak of memory is not used for another chunk."""


class PythonRun:
    """The calls of one chunk. Item hosts are kept between chunks, and replaced when they die."""

    def __init__(self, process: ItemProcess, context: RunContext) -> None:
        self._process = process
        self._timeout_seconds = context.item_timeout_seconds
        self._check_claim = context.check_claim
        self._max_deaths = context.settings.max_item_deaths
        self._function = str(context.options.get("function"))
        self._is_allowed = is_allowed(self._function, context.settings)

    async def item(self, call: ItemCall) -> ItemOutcome:
        """Call the function; an item whose host dies is tried again, `max_item_deaths` times in all.

        Raises:
            RunKilledError: `kill` was called.
            RetryableError: no item host could be started.
        """
        if not self._is_allowed:  # the worker's own settings apply, too
            return ItemFailed("denied", f"MESH_PYTHON_FUNCTIONS does not allow {self._function}", call.attempt)
        death = ""
        for tried in range(self._max_deaths):
            attempt = call.attempt + tried
            try:
                outcome = await self._process.call(
                    self._function, call.item, timeout_seconds=self._timeout_seconds, before=self._check_claim
                )
            except HostDiedError as died:
                death = str(died)
            except HostTimeoutError as late:
                return ItemFailed("timeout", str(late), attempt)
            else:
                return replace(outcome, attempt=attempt)
        return ItemFailed("crashed", f"{death}; tried {self._max_deaths} times", call.attempt + self._max_deaths - 1)

    def kill(self) -> None:
        """Kill the item host and all that the function started."""
        self._process.kill()


class PythonWorkload:
    """`{"function": "module:qualname"}`: `function(item)` is called, and awaited if it returns an awaitable."""

    name = "python"
    queue: Queue = "batch_tasks"
    flush_each_item = False

    def __init__(self) -> None:
        self._idle: list[ItemProcess] = []

    def validate(
        self,
        options: Mapping[str, JsonValue],
        items: Sequence[JsonValue] | None,  # noqa: ARG002 - the function takes any item
        settings: Settings,
    ) -> None:
        """Check the options; the module is not imported here.

        Raises:
            DeadLetterError: `invalid`: options other than a function's name, or a function that is not allowed.
        """
        unknown = sorted(set(options) - {"function"})
        if unknown:
            raise DeadLetterError("invalid", f"options of python: unknown {unknown[0][:80]!r}")
        function = options.get("function")
        if not isinstance(function, str) or not is_function_name(function):
            raise DeadLetterError("invalid", 'options of python: {"function": "module:name"} is required')
        if not is_allowed(function, settings):
            raise DeadLetterError("invalid", f"options of python: MESH_PYTHON_FUNCTIONS does not allow {function}")

    @asynccontextmanager
    async def open(self, context: RunContext) -> AsyncIterator[PythonRun]:
        """A run that uses the idle item host, if there is one."""
        process = self._idle.pop() if self._idle else ItemProcess()
        try:
            yield PythonRun(process, context)
        finally:
            fit = not process.killed and process.peak_bytes <= _MAX_KEPT_BYTES
            if fit and len(self._idle) < _MAX_IDLE_HOSTS:
                self._idle.append(process)
            else:
                await to_its_end(process.close())

    async def close(self) -> None:
        """End the idle item host."""
        while self._idle:
            await self._idle.pop().close()


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
