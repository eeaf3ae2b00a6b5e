"""The brake: pulled by many different records that fail alike in a row, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.consumer.brake import Brake, BrakeError, OwnFailureError
from tests.unit.consumer.records import consumed


def _raised(raise_it: Callable[[], object]) -> Exception:
    try:
        raise_it()
    except Exception as error:  # noqa: BLE001 - with its traceback is what it is wanted for
        return error
    raise AssertionError


def _of_value(value: bytes, cause: Exception | None = None) -> OwnFailureError:
    return OwnFailureError(consumed(value), cause or _raised(lambda: int("secret")))


def test_the_same_code_on_different_records() -> None:
    """At the last one; the message says where and what, and quotes nothing."""
    brake = Brake(3)
    brake.failed(_of_value(b"1"))
    brake.failed(_of_value(b"2"))
    with pytest.raises(BrakeError, match=r"3 records in a row fail alike.*ValueError at test_brake") as pulled:
        brake.failed(_of_value(b"3"))
    assert "secret" not in str(pulled.value)


def test_a_record_that_is_handled_begins_anew() -> None:
    """The code works."""
    brake = Brake(2)
    brake.failed(_of_value(b"1"))
    brake.handled()
    brake.failed(_of_value(b"2"))


def test_one_content_counts_once() -> None:
    """A sender that repeats a bad record says nothing new."""
    brake = Brake(2)
    for _ in range(5):
        brake.failed(_of_value(b"1"))


def test_other_failures_are_counted_apart() -> None:
    """By what was raised, and where."""
    brake = Brake(2)
    brake.failed(_of_value(b"1"))
    brake.failed(_of_value(b"2", _raised(lambda: dict[str, int]()["x"])))
    brake.failed(_of_value(b"3", ValueError("elsewhere")))
