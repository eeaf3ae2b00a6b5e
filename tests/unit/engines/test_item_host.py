"""The item host's own parts; the process as a whole is tested with the runner."""

from __future__ import annotations

import enum
import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.router.engines.python.item_host import calls, outputs


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, b"null"),
        ({"a": [1, 2.5, "ü", True]}, '{"a":[1,2.5,"ü",true]}'.encode()),
        ((1, 2), b"[1,2]"),
        (Point(1, 2), b"[1,2]"),
        (Colour.RED, b"1"),
        (2**53 - 1, b"9007199254740991"),
        (1e300, b"1e+300"),
    ],
)
def test_what_json_can_say_is_written(value: Any, text: bytes) -> None:
    """Plain values, and those that derive from them."""
    assert outputs.encode(value) == text


def _loop() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, 2**53, -(2**53), {1: 2}, {None: 1}, b"x", {1}, object(), "\udfff", {"\ud800": 1}, _loop()],
)
def test_what_i_json_cannot_say_is_refused(value: Any) -> None:
    """`json` would write some of these, in a way that others read differently or not at all."""
    with pytest.raises(outputs.NotJsonError):
        outputs.encode({"deep": [value]})


def test_depth_is_that_of_the_contract_less_the_record() -> None:
    """61 levels may lie in a result, 62 may not."""
    value: list[Any] = []
    for _ in range(60):
        value = [value]
    outputs.encode(value)
    with pytest.raises(outputs.NotJsonError, match="deeper"):
        outputs.encode([value])


def test_an_error_is_described_whatever_its_text_does() -> None:
    """Type and message, cut, fit for UTF-8; an error whose text raises is still named."""

    class Sly(Exception):
        def __str__(self) -> str:
            raise KeyError

    assert outputs.describe(ValueError("no")) == "ValueError: no"
    assert outputs.describe(ValueError("\ud800")) == "ValueError: ?"
    assert len(outputs.describe(ValueError("x" * 9000))) == outputs.MAX_MESSAGE_CHARACTERS
    assert "KeyError" in outputs.describe(Sly())
    assert outputs.describe(Sly()).startswith("test_an_error_is_described")


def test_a_function_is_found_and_no_other_module() -> None:
    """A name may lead through classes, not through modules, and must end at something callable."""
    assert calls.resolve("math:sqrt") is math.sqrt
    assert calls.resolve("pathlib:Path.is_dir")(Path("/"))
    with pytest.raises(calls.DeniedError, match="another module"):
        calls.resolve("pathlib:os.getcwd")
    with pytest.raises(TypeError, match="cannot be called"):
        calls.resolve("math:pi")
    with pytest.raises(ModuleNotFoundError):
        calls.resolve("no_such_module_here:f")
