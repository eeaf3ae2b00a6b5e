"""The one JSON parser: a table of what it reads and what it refuses, and why."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from eldermesh.contract.ijson import MAX_DEPTH, NO_COLLECTIONS, UndecodableJsonError, check_ijson, parse_ijson


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"null", None),
        (b' {"a": [1, 2.5, "x", true, null]} ', {"a": [1, 2.5, "x", True, None]}),
        ('"ü€😀"'.encode(), "ü€😀"),
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\u0000"', "\0"),
        (b"9007199254740991", 2**53 - 1),
        (b"-9007199254740991", 1 - 2**53),
        (b"1e308", 1e308),
        (b"1e-400", 0.0),
        (b"-0", 0),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
        (b'"' + b"[" * 10_000 + b'"', "[" * 10_000),
        (rb'"\"[[[[\\"', '"[[[[\\'),
        (b'{"a": 1, "b": {"a": 1}}', {"a": 1, "b": {"a": 1}}),
    ],
)
def test_reads(raw: bytes, value: object) -> None:
    """I-JSON up to its limits; brackets within strings are no nesting, equal names in different objects no repeat."""
    read = parse_ijson(raw)
    check_ijson(raw)
    if raw.startswith(b"[["):
        assert isinstance(read, list)
    else:
        assert read == value


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"1 2", "not JSON"),
        (b"'a'", "not JSON"),
        (b"01", "not JSON"),
        (b'"a\nb"', "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        ('"ü"'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a": 1, "a": 1}', "duplicate name 'a'"),
        (rb'{"a": 1, "\u0061": 2}', "duplicate name 'a'"),
        (b'[{"b": {"a": 1, "a": 2}}]', "duplicate name 'a'"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"1e400", "too large for a double"),
        (b"-1e400", "too large for a double"),
        (b"9007199254740992", "outside"),
        (b"-9007199254740992", "outside"),
        (b"18446744073709551616", "outside"),
        (b"1" * 10_000, "outside"),
        (rb'"\ud800"', "lone surrogate"),
        (rb'["\ude00\ud83d"]', "lone surrogate"),
        (rb'{"\ud800": 1}', "lone surrogate"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deeper"),
        (b"[" * 10_000, "deeper"),
        (b'{"a":' * 10_000, "deeper"),
        (b"[" * 1_000_000, "deeper"),
    ],
)
def test_refuses(raw: bytes, reason: str) -> None:
    """Each with a reason that a sender understands, none with another exception."""
    with pytest.raises(UndecodableJsonError, match=reason) as caught:
        parse_ijson(raw)
    assert len(str(caught.value)) < 200
    with pytest.raises(UndecodableJsonError, match=reason):
        check_ijson(raw)


def test_refuses_in_time() -> None:
    """A megabyte of what could make a scanner slow is judged within the test's time limit."""
    for raw in (b'"' + b"\\" * 1_000_001, b'"' * 1_000_001, b'{"' + b'":"' * 300_000, b"[" + b'"[' * 400_000):
        with pytest.raises(UndecodableJsonError):
            parse_ijson(raw)


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """What the garbage collector has begun and ended since."""
    seen: list[str] = []

    def note(phase: str, _: object) -> None:
        seen.append(phase)

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


@pytest.mark.parametrize("end", [b"[]]", b'"\\\\ud800"]', b"NaN]"])
def test_millions_of_arrays_are_not_searched_for_garbage(collections: list[str], end: bytes) -> None:
    """That would hold up all other threads for ten seconds and more, where the text is large."""
    gc.enable()
    gc.collect()  # so that none is due before the check begins
    collections.clear()
    with pytest.raises(UndecodableJsonError) if end.startswith(b"NaN") else nullcontext():
        check_ijson(b"[" + b"[]," * 100_000 + end)
    assert collections == []
    assert gc.isenabled()


def test_a_check_that_ends_does_not_let_another_one_collect() -> None:
    """Two threads check at once; no garbage is collected until both have ended."""
    gc.enable()
    with NO_COLLECTIONS:
        with NO_COLLECTIONS:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
