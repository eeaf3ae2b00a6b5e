"""Batches are unpacked within a bound, by those who ask for one, whatever their codec."""

from __future__ import annotations

import struct
from typing import Any

import aiokafka.codec
import cramjam
import pytest
from aiokafka.codec import snappy_encode
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from eldermesh.kafka import decompression
from eldermesh.kafka.decompression import BatchTooLargeError, Decompression
from tests.hostile_batches import batch_of

CODECS = ("gzip", "snappy", "lz4", "zstd")
LIMIT = 100_000


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompression, "MAX_BATCH_BYTES", LIMIT)


def values_of(batch: bytes) -> list[Any]:
    """What aiokafka reads of a batch."""
    return [record.value for record in MemoryRecords(batch).next_batch()]


@pytest.mark.parametrize("codec", CODECS)
def test_what_fits_is_unpacked_and_counted(codec: str) -> None:
    """The records as they were; the count is that of all of them with their lengths."""
    values = [bytes([number]) * 9_000 for number in range(11)]
    unpacking = Decompression()
    with unpacking:
        assert values_of(batch_of(values, codec=codec)) == values
    assert sum(map(len, values)) < unpacking.unpacked_bytes < LIMIT


@pytest.mark.parametrize("codec", CODECS)
def test_what_does_not_fit_is_refused(codec: str) -> None:
    """One byte too many is enough, and so are two megabytes."""
    for size in (LIMIT, 20 * LIMIT):
        with pytest.raises(BatchTooLargeError), Decompression():
            values_of(batch_of([bytes(size)], codec=codec))


@pytest.mark.parametrize("codec", CODECS)
def test_no_more_is_unpacked_than_the_bound(codec: str) -> None:
    """One byte behind it at most: what is refused only when it is there has taken its memory."""
    packed = getattr(aiokafka.codec, f"{codec}_encode")(bytes(20 * LIMIT))
    try:
        unpacked = decompression._DECODERS[f"{codec}_decode"](packed, LIMIT)  # noqa: SLF001 - what aiokafka calls
    except BatchTooLargeError:
        return
    assert len(unpacked) == LIMIT + 1


@pytest.mark.parametrize("codec", CODECS)
def test_others_in_the_process_are_let_alone(codec: str) -> None:
    """A program that uses the client may read topics of its own with aiokafka as it is."""
    assert values_of(batch_of([bytes(2 * LIMIT)], codec=codec)) == [bytes(2 * LIMIT)]


@pytest.mark.parametrize(("magic", "codec"), [(0, 1), (1, 1), (1, 2), (1, 3)])
def test_batches_of_the_old_format(magic: int, codec: int) -> None:
    """The bound is theirs, too: gzip, snappy and lz4 were known then."""
    builder = LegacyRecordBatchBuilder(magic, codec, 1 << 20)
    builder.append(0, 1, b"k", bytes(2 * LIMIT))
    with pytest.raises(BatchTooLargeError), Decompression():
        values_of(bytes(builder.build()))


def test_blocks_of_snappy() -> None:
    """As Java wraps them, each with its length: together they are bounded, and a length that lies ends the reading."""
    packed = snappy_encode(b"x" * 200_000, xerial_compatible=True, xerial_blocksize=32 * 1024)
    decode = decompression._DECODERS["snappy_decode"]  # noqa: SLF001 - what aiokafka calls
    assert decode(packed, 200_000) == b"x" * 200_000
    with pytest.raises(BatchTooLargeError):
        decode(packed, 199_999)
    for lie in (-4, 0, 1 << 30):
        with pytest.raises(cramjam.DecompressionError):
            decode(packed[:16] + struct.pack("!i", lie) + packed[20:], 200_000)
