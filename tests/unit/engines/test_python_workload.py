"""Admission of `python` jobs."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.router.engines.python import workload as python_workload
from services.router.engines.python.workload import PythonWorkload, is_allowed, is_function_name
from shared.errors import DeadLetterError, RetryableError
from shared.settings import Settings
from shared.workloads import RunContext

SETTINGS = Settings(python_functions=("math:*", "package.work:count_*"), _env_file=None)


@pytest.mark.parametrize("function", ["math:sqrt", "package.work:count_lines"])
def test_an_allowed_function_is_admitted(function: str) -> None:
    """It is not imported: the router may not have it."""
    PythonWorkload().validate({"function": function}, [1], SETTINGS)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "required"),
        ({"function": 3}, "required"),
        ({"function": "math"}, "required"),
        ({"function": "math:__loader__.load_module"}, "required"),
        ({"function": "math:sqrt", "timeout": 3}, "unknown 'timeout'"),
        ({"function": "math:sqrt", "at_once": 0}, "from 1 to 100"),
        ({"function": "math:sqrt", "at_once": 101}, "MESH_PYTHON_AT_ONCE"),
        ({"function": "math:sqrt", "at_once": True}, "whole number"),
        ({"function": "math:sqrt", "at_once": 2.5}, "whole number"),
        ({"function": "os:system"}, "does not allow os:system"),
        ({"function": "package.work:remove"}, "does not allow"),
        ({"function": "Math:sqrt"}, "does not allow"),
    ],
)
def test_the_reason_of_a_refusal_says_what_is_wrong(options: dict[str, Any], reason: str) -> None:
    """Refused as invalid, for the sender to read."""
    with pytest.raises(DeadLetterError, match=reason) as refused:
        PythonWorkload().validate(options, [1], SETTINGS)
    assert refused.value.error_type == "invalid"


@pytest.mark.parametrize("text", ["m:f", "a.b.c:D.e", "_private_module:f", "m:ü"])
def test_function_names(text: str) -> None:
    """A module path, a colon, a path of public names."""
    assert is_function_name(text)


@pytest.mark.parametrize(
    "text", ["", "m", "m:", ":f", "m:f:g", "m:_f", "m:f._g", "m:f()", "m f:g", "m:lambda", "m:" + "f" * 400]
)
def test_what_is_no_function_name(text: str) -> None:
    """Nothing that could be more than a name."""
    assert not is_function_name(text)


def test_a_glob_never_makes_a_name_of_what_is_none() -> None:
    """Even an operator who allows everything allows functions only."""
    everything = Settings(python_functions=("*",), _env_file=None)
    assert is_allowed("os:system", everything)
    assert not is_allowed("os:__builtins__", everything)


async def test_the_end_of_a_host_is_waited_for_whoever_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice, too, and where the end fails: nothing of it goes on behind the run that has ended."""
    ending, may_end = asyncio.Event(), asyncio.Event()

    class Dying:
        killed = True
        peak_bytes = 0

        async def close(self) -> None:
            ending.set()
            await may_end.wait()
            raise RetryableError("it outlived SIGKILL")

    monkeypatch.setattr(python_workload, "ItemProcess", Dying)
    context = cast(
        "RunContext",
        SimpleNamespace(options={}, item_timeout_seconds=None, check_claim=None, settings=SETTINGS, tenant="default"),
    )

    async def run() -> None:
        async with PythonWorkload().open(context):
            pass

    running = asyncio.create_task(run())
    await ending.wait()
    for _ in range(2):
        running.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not running.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await running
    assert isinstance(cancelled.value.__cause__, RetryableError)
