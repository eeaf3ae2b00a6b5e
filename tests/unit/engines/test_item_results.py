"""What an outcome becomes: a large output is judged as a small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.router.engines.chunks.fact_result import MAX_INLINE_BYTES, inline_result, stored_result
from shared.blobs.store import BlobStore
from shared.facts.jobs import FactResult
from shared.workloads import ItemSucceeded


def stored(directory: Path) -> list[bytes]:
    """The blobs."""
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


async def result_of(output_json: bytes, directory: Path) -> FactResult:
    """The result, with blobs in a directory."""
    blobs = BlobStore(directory.as_uri())
    try:
        outcome, name = ItemSucceeded(output_json), "t/j/0/1/0.json"
        inline = inline_result(outcome, index=0, attempt=1, measured_seconds=0.0)
        if inline is not None:
            return inline
        return await stored_result(outcome, index=0, attempt=1, measured_seconds=0.0, blob_name=name, blobs=blobs)
    finally:
        blobs.close()


@pytest.mark.parametrize("filling", [1, MAX_INLINE_BYTES])
@pytest.mark.parametrize(
    ("output", "why"),
    [
        (b'{"a": 1, "a": 2, "b": "%s"}', "duplicate name 'a'"),
        (b'[{"a": {"b": 1, "b": 1}}, "%s"]', "duplicate name 'b'"),
        (b'[NaN, "%s"]', "NaN"),
        (b'[9007199254740993, "%s"]', "outside"),
        (b'["\\ud800", "%s"]', "surrogate"),
        (b'["%s"', "not JSON"),
        (b'["\xff%s"]', "not UTF-8"),
    ],
)
async def test_what_is_no_ijson_fails_whatever_its_size(filling: int, output: bytes, why: str, tmp_path: Path) -> None:
    """And nothing of it is stored."""
    result = await result_of(output % (b"x" * filling), tmp_path)
    assert (result.status, result.error_type, result.output_url) == ("failed", "result_not_json", None)
    assert why in (result.error_message or "")
    assert not stored(tmp_path)


async def test_a_large_output_is_stored_as_it_is(tmp_path: Path) -> None:
    """Equal names in different objects are no duplicates."""
    output = b'[{"a": 1}, {"a": 1.5}, "\\ud83d\\ude00%s"]' % (b"x" * MAX_INLINE_BYTES)
    result = await result_of(output, tmp_path)
    assert (result.status, result.output) == ("succeeded", None)
    assert stored(tmp_path) == [output]
