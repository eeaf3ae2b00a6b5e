"""The quick way to the canonical form gives the bytes of the reference implementation, for whatever JSON there is."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from eldermesh.contract.canonical import canonical_bytes

SAFE = 2**53 - 1

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE, SAFE)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
names = st.text("ab€\U0001f600\ufb33")
documents = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner))


@given(documents)
@example({"€": 1, "\U0001f600": 2, "\ufb33": 3})
@example([1e-4, 9.999e-5, 1e15, 999999999999999.9, 1e16, 123456789012345.67, -0.0, 2.0, 5e-324])
@example("".join(map(chr, range(0x80))))
def test_the_bytes_are_those_of_the_reference(document: object) -> None:
    """Names, numbers and text alike."""
    assert canonical_bytes(document) == rfc8785.dumps(document)  # type: ignore[arg-type]  # any JSON


@given(st.floats(1e-5, 1e17) | st.floats(-1e17, -1e-5))
def test_floats_of_everyday_size(value: float) -> None:
    """Where orjson is used, and around its bounds."""
    assert canonical_bytes([value]) == rfc8785.dumps([value])


@pytest.mark.parametrize("bad", [SAFE + 1, float("nan"), "\ud800", {1: 2}, object()])
def test_what_has_no_canonical_form_is_refused(bad: object) -> None:
    """By the error that the function promises, whichever way it took."""
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical_bytes(bad)
