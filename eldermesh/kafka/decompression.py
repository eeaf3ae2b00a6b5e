"""Batches are decompressed within a bound: a few KB from a foreign client may stand for gigabytes.

aiokafka decompresses a batch whole, whatever comes of it, and its codecs abort the process where there is no memory
for that. Here are codecs that end at a bound, put in the places of aiokafka's. They work for those who read within a
`Decompression`, which all consumers of this project do; what else there is in a process keeps aiokafka's own.
"""

from __future__ import annotations

import gzip
import io
import struct
import sys
from collections.abc import Callable
from contextvars import ContextVar, Token
from mmap import mmap
from types import ModuleType, TracebackType
from typing import Final

import cramjam
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""Most that a batch has when decompressed. Our topics take batches of 1 MB as they are sent, and clients, unless told
otherwise, close a batch at 1 MB before it is compressed; no record that means anything here is above 256 KiB. For each
partition of a consumer one may lie in memory: the partitions take turns."""

_XERIAL_HEADER = b"\x82SNAPPY\x00" + struct.pack("!ii", 1, 1)
_XERIAL_LENGTH = struct.Struct("!I")

_Decode = Callable[[bytes, int], bytes]
"""Decompress to so many bytes at most. Of more it returns one byte too many, or raises `BatchTooLargeError`."""


class BatchTooLargeError(Exception):
    """A batch has more than `MAX_BATCH_BYTES` when decompressed."""

    def __init__(self) -> None:
        super().__init__(f"the batch has more than {MAX_BATCH_BYTES} bytes when decompressed")


class Decompression:
    """While it is entered, batches are decompressed within the bound; `unpacked_bytes` is what all of them had."""

    def __init__(self) -> None:
        self.unpacked_bytes = 0
        self._before: Token[Decompression | None] | None = None

    def __enter__(self) -> None:
        self._before = _current.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before is not None:
            _current.reset(self._before)


_current: ContextVar[Decompression | None] = ContextVar("decompression", default=None)


def _gzip(payload: bytes, limit: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(payload)) as unpacked:
        return unpacked.read(limit + 1)


def _snappy(payload: bytes, limit: int) -> bytes:
    if not payload.startswith(_XERIAL_HEADER):
        return _snappy_block(payload, limit)
    unpacked = bytearray()
    at = len(_XERIAL_HEADER)
    while at < len(payload):
        (length,) = _XERIAL_LENGTH.unpack_from(payload, at)
        at += _XERIAL_LENGTH.size
        unpacked += _snappy_block(payload[at : at + length], limit - len(unpacked))
        at += length
    return bytes(unpacked)


def _snappy_block(block: bytes, limit: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(block) > limit:  # as the block says, and may not exceed
        raise BatchTooLargeError
    return bytes(cramjam.snappy.decompress_raw(block))


def _into_buffer(decompress_into: Callable[[bytes, mmap], int]) -> _Decode:
    def decode(payload: bytes, limit: int) -> bytes:
        with mmap(-1, limit) as unpacked:  # takes memory only where something is written
            try:
                length = decompress_into(payload, unpacked)
            except cramjam.DecompressionError as error:
                if "failed to write whole buffer" in str(error):
                    raise BatchTooLargeError from error
                raise
            return unpacked[:length]

    return decode


_DECODERS: Final[dict[str, _Decode]] = {
    "gzip_decode": _gzip,
    "snappy_decode": _snappy,
    "lz4_decode": _into_buffer(cramjam.lz4.decompress_into),
    "zstd_decode": _into_buffer(cramjam.zstd.decompress_into),
}
"""By the names that aiokafka's modules call them by."""


def _bounded(decode: _Decode, aiokafkas_own: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def bounded(payload: bytes) -> bytes:
        decompression = _current.get()
        if decompression is None:
            return aiokafkas_own(payload)
        unpacked = decode(bytes(payload), MAX_BATCH_BYTES)
        if len(unpacked) > MAX_BATCH_BYTES:
            raise BatchTooLargeError
        decompression.unpacked_bytes += len(unpacked)
        return unpacked

    return bounded


def _put_in(module: ModuleType) -> None:
    for name in _DECODERS.keys() & vars(module).keys():
        setattr(module, name, _bounded(_DECODERS[name], getattr(module, name)))


for _batch in (DefaultRecordBatch, LegacyRecordBatch):
    _put_in(sys.modules[_batch.__module__])
