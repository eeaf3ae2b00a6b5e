"""Calls of a user's functions."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from os import _exit
from time import monotonic
from types import ModuleType
from typing import Any

from .border import Border
from .frames import MAX_OUTPUT_BYTES
from .outputs import NotJsonError, bounded, describe, encode

Failure = tuple[str, str]
"""Type and message of an error."""


class DeniedError(Exception):
    """The name leads to an object outside the allowed module."""


def resolve(name: str) -> Callable[[Any], Any]:
    """Import the function `module:qualname`.

    Raises:
        DeniedError: the name leads through another module, which the allow-list does not cover.
        Exception: whatever importing the user's module raises.
    """
    module_name, _, qualname = name.partition(":")
    target: Any = importlib.import_module(module_name)
    for part in qualname.split("."):
        target = getattr(target, part)
        if isinstance(target, ModuleType):
            raise DeniedError(f"{name} leads into another module, {target.__name__}")
    if not callable(target):
        raise TypeError(f"{name} is a {type(target).__qualname__}, which cannot be called")
    return target  # type: ignore[no-any-return]  # `callable` does not narrow it enough


async def _awaited(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """What it gives, or what it raises: anything else that ends the event loop comes from elsewhere."""
    try:
        return await awaitable, None
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is the item's failure
        return None, error


async def _value(function: Callable[[Any], Awaitable[Any]], item: Any) -> tuple[Any, Failure | None]:
    """What a coroutine function returns, or how it failed; even a `sys.exit` ends its own item alone."""
    try:
        return await function(item), None
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is the item's failure
        return None, ("exception", describe(error))


def _output(value: Any) -> bytes | Failure:
    """A value as text, or why it is no result."""
    try:
        output = encode(value)
    except NotJsonError as error:
        return "result_not_json", bounded(str(error))
    except BaseException as error:  # noqa: BLE001 - a container of the user's own raised while it was read
        return "result_not_json", describe(error)
    if len(output) > MAX_OUTPUT_BYTES:
        return "result_too_large", f"{len(output)} bytes; at most {MAX_OUTPUT_BYTES}"
    return output


class Host:
    """Calls functions, and keeps those that it has imported."""

    def __init__(self, border: Border) -> None:
        self._border = border
        self._functions: dict[str, Callable[[Any], Any]] = {}
        self._can_run_at_once: set[str] = set()
        self._runner = asyncio.Runner()
        self._is_loop_new = True

    def load(self, name: str) -> Failure | None:
        """Import a function that is not yet known; why that failed."""
        if name in self._functions:
            return None
        self._border.cross()
        try:
            self._functions[name] = function = resolve(name)
            if inspect.iscoroutinefunction(function):
                self._can_run_at_once.add(name)
        except DeniedError as error:
            return "denied", bounded(str(error))
        except BaseException as error:  # noqa: BLE001 - user code: SystemExit at import is the item's failure, too
            return "exception", describe(error)
        finally:
            self._border.come_back()
        return None

    def call(self, name: str, item: Any) -> bytes | Failure:
        """Call a function that was loaded: its output, or how it failed."""
        function = self._functions[name]
        own_trace, recursion_limit = self._border.own_trace, self._border.recursion_limit
        try:
            self._border.cross()
            try:
                value = function(item)
                # Inline, because a trace function or a low recursion limit would disturb any call.
                sys.settrace(own_trace)
                if sys.getrecursionlimit() < recursion_limit:
                    sys.setrecursionlimit(recursion_limit)
                if inspect.isawaitable(value):
                    value = self._result_of(value)
            finally:
                sys.settrace(own_trace)
                if sys.getrecursionlimit() < recursion_limit:
                    sys.setrecursionlimit(recursion_limit)
                self._border.come_back()
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is the item's failure
            return "exception", describe(error)
        return _output(value)

    def _result_of(self, awaitable: Awaitable[Any]) -> Any:
        """Await it. If the loop breaks meanwhile, an earlier call may have left what broke it: then the host ends.

        The worker has the item run again in a new host, where only the item itself can break the loop.

        Raises:
            BaseException: what the awaitable raises.
        """
        is_loop_new, self._is_loop_new = self._is_loop_new, False
        try:
            value, error = self._runner.run(_awaited(awaitable))
        except BaseException:
            if not is_loop_new:
                _exit(1)
            raise
        if error is not None:
            raise error
        return value

    def can_run_at_once(self, name: str) -> bool:
        """Whether it is a coroutine function."""
        return name in self._can_run_at_once

    async def call_beside_others(
        self, name: str, item: Any, limit: float | None, held_up: Callable[[], float]
    ) -> bytes | Failure:
        """Call a coroutine function, and cancel it after `limit` seconds; while all are held up no time passes."""
        # In a task of its own: user code may cancel it.
        call = asyncio.ensure_future(_value(self._functions[name], item))
        ends, held_up_before = None if limit is None else monotonic() + limit, held_up()
        await asyncio.wait({call}, timeout=limit)
        while ends is not None and not call.done() and (left := ends + held_up() - held_up_before - monotonic()) > 0:
            await asyncio.wait({call}, timeout=left)
        if not call.done():
            call.cancel()
            await asyncio.wait({call})
            return "timeout", f"it took longer than {limit:g} s"
        if call.cancelled():
            return "exception", "CancelledError: it cancelled itself"
        value, failure = call.result()
        return _output(value) if failure is None else failure

    def run(self, calls: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Run calls in an event loop, always the same: user code may keep clients that belong to it.

        Returns whether they have ended; else user code has broken the loop.
        """
        self._border.cross()
        self._is_loop_new = False
        try:
            self._runner.run(calls())
        except BaseException:  # noqa: BLE001 - whatever it was, the worker finds out whose fault
            return False
        finally:
            self._border.come_back()
        return True
