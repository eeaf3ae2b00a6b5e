"""The one JSON parser against the standard library's and against the canonical form, on generated input."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eldermesh.contract.canonical import canonical_bytes
from eldermesh.contract.ijson import MAX_DEPTH, UndecodableJsonError, parse_ijson

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(_VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_reads_what_the_standard_library_writes(value: object, escape: bool, indent: int | str | None) -> None:  # noqa: FBT001
    """Any I-JSON value, however it is written, is read as the standard library reads it."""
    text = json.dumps(value, ensure_ascii=escape, indent=indent)
    read = parse_ijson(text.encode())
    assert read == json.loads(text)
    assert json.dumps(read) == json.dumps(json.loads(text))


@given(_VALUES)
def test_what_is_read_has_a_canonical_form(value: object) -> None:
    """Whatever gets in can be written canonically, and reading that gives the same value: content can be compared."""
    read = parse_ijson(json.dumps(value).encode())
    once = canonical_bytes(read)
    again = parse_ijson(once, whole_doubles=True)
    assert again == read
    assert canonical_bytes(again) == once


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_other_exception(raw: bytes) -> None:
    """Any bytes are either read or refused with the one exception; what is read, the standard library reads alike."""
    try:
        value = parse_ijson(raw)
    except UndecodableJsonError:
        return
    assert value == json.loads(raw)


@given(st.lists(st.sampled_from(list('[]{}",:\\ ae1.-u0d8')), max_size=60).map("".join))
def test_no_other_exception_on_near_json(text: str) -> None:
    """The same with characters that nearly make JSON."""
    try:
        value = parse_ijson(text.encode())
    except UndecodableJsonError:
        return
    assert json.dumps(value) == json.dumps(json.loads(text))


@given(st.integers(0, 2 * MAX_DEPTH), st.booleans())
def test_depth(depth: int, objects: bool) -> None:  # noqa: FBT001
    """Read exactly up to the limit."""
    before, after = ('{"a":', "}") if objects else ("[", "]")
    raw = (before * depth + "1" + after * depth).encode()
    try:
        parse_ijson(raw)
    except UndecodableJsonError:
        assert depth > MAX_DEPTH
    else:
        assert depth <= MAX_DEPTH


@given(st.floats(2**53, 1e22).map(lambda number: math.copysign(math.floor(number), number)) | st.integers())
@example(1e20)
@example(2**64)
@example(2**64 + 1)
def test_large_numbers_that_the_mesh_writes(number: float) -> None:
    """Whole numbers beyond 2^53 are refused as digits, and read as floats where they are known to be doubles."""
    literal = str(int(number)).encode()
    if abs(number) <= 2**53 - 1:
        assert parse_ijson(literal, whole_doubles=True) == parse_ijson(literal) == number
        return
    with pytest.raises(UndecodableJsonError, match="outside"):
        parse_ijson(literal)
    try:
        read = parse_ijson(literal, whole_doubles=True)
    except UndecodableJsonError:
        assert canonical_bytes(float(literal[:400])) != literal
    else:
        assert isinstance(read, float)
        assert canonical_bytes(read) == literal


@given(st.integers() | st.floats())
def test_numbers(number: float) -> None:
    """A number is read if and only if a double holds it (integers: if every reader agrees on them)."""
    exact = abs(number) <= 2**53 - 1 if isinstance(number, int) else math.isfinite(number)
    try:
        read = parse_ijson(json.dumps(number).encode())
    except UndecodableJsonError:
        assert not exact
    else:
        assert exact
        assert read == number
