"""Mutating shipped code for one test: its source as it is shipped, with one text replaced."""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from shared.history import scripts, snapshot
from shared.history.runs import claims


def mutate_code(patch: pytest.MonkeyPatch, holder: object, name: str, old: str, new: str) -> None:
    """Replace `old` in the source of a module's function or a class' method; whoever holds it runs the mutated code.

    Raises:
        LookupError: `old` is not there exactly once: the code has changed, and the mutation has to follow.
    """
    mutate_function(patch, getattr(holder, name), old, new)


def mutate_function(patch: pytest.MonkeyPatch, function: Any, old: str, new: str) -> None:
    """The same for a function at hand (a property's).

    Raises:
        LookupError: as above.
    """
    source = _replaced(textwrap.dedent(inspect.getsource(function)), old, new, function.__qualname__)
    filename = f"<mutated {function.__qualname__}>"
    compiled = compile(source, filename, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    made: dict[str, Any] = {}
    exec(compiled, function.__globals__, made)  # noqa: S102 - shipped source with one text replaced
    mutated: Any = made[function.__name__]
    patch.setattr(function, "__code__", getattr(mutated, "fget", mutated).__code__)


def mutate_lua(patch: pytest.MonkeyPatch, script: str, old: str, new: str) -> None:
    """Replace `old` in a Lua script; stores that are made from now on use it.

    Raises:
        LookupError: as above.
    """
    shipped: Callable[[str], str] = vars(snapshot)["lua_script"]  # or mutated already: several scripts can be
    mutated = _replaced(scripts.lua_script(script), old, new, f"{script}.lua")

    def source(name: str) -> str:
        return mutated if name == script else shipped(name)

    for module in (snapshot, claims):
        patch.setattr(module, "lua_script", source)


def _replaced(source: str, old: str, new: str, where: str) -> str:
    if source.count(old) != 1:
        raise LookupError(f"{old!r} is {source.count(old)} times in {where}")
    return source.replace(old, new)
