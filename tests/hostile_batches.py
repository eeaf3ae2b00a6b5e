"""Batches that a client in another language can write, and aiokafka cannot read, or reads to the machine's cost."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from shared.kafka.service_producer import make_plain_producer
from shared.settings import Settings

_SECONDS = 60.0
_CRC_AT, _CRC_COVERS_FROM, _LAST_OFFSET_AT, _RECORDS_AT = 17, 21, 23, 61
_CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def batch_of(values: Sequence[bytes], *, codec: str = "none", header: str | None = None, header_at: int = 0) -> bytes:
    """A batch as it is sent. Every record has the key `k`; one of them has the header, if any, without a value."""
    builder = DefaultRecordBatchBuilder(2, _CODECS[codec], 0, -1, -1, -1, 1 << 30)
    for index, value in enumerate(values):
        headers = [(header, b"")] if header is not None and index == header_at else []
        assert builder.append(index, None, b"k", value, headers) is not None
    return bytes(builder.build())


def unreadable_header(values: Sequence[bytes], *, at: int = 0) -> bytes:
    """A batch one of whose records has a header whose *name* is no UTF-8."""
    return sealed(batch_of(values, header="name", header_at=at).replace(b"name", b"\xff\xfe\xfd\xfc"))


def broken_compression(values: Sequence[bytes], codec: str) -> bytes:
    """A batch whose compressed part is none. Apache Kafka refuses it, the embedded broker takes it."""
    whole = batch_of(values, codec=codec)
    return sealed(whole[:_RECORDS_AT] + b"\xff" * (len(whole) - _RECORDS_AT))


def ending_at(batch: bytes, last_offset: int) -> bytes:
    """The batch when it says this of its last offset, counted from its first."""
    raw = bytearray(batch)
    struct.pack_into(">i", raw, _LAST_OFFSET_AT, last_offset)
    return sealed(bytes(raw))


def placed(batch: bytes, offset: int) -> bytes:
    """The batch where a broker has put it. Its checksum does not cover that."""
    return struct.pack(">q", offset) + batch[8:]


def sealed(batch: bytes) -> bytes:
    """The batch with the checksum of what it holds now."""
    raw = bytearray(batch)
    struct.pack_into(">I", raw, _CRC_AT, calc_crc32c(raw[_CRC_COVERS_FROM:]))
    return bytes(raw)


async def publish_batch(settings: Settings, topic: str, partition: int, batch: bytes) -> None:
    """Publish a batch byte for byte, and wait for its acknowledgement."""
    producer = make_plain_producer(settings.model_copy(update={"broker_profile": "embedded"}), client_id="hostile")
    await producer.start()
    try:
        builder = producer.create_batch()
        assert builder.append(timestamp=None, key=None, value=b"", headers=[]) is not None
        builder.close()
        builder._build()  # noqa: SLF001 - there is no public way to be a broken client
        builder._buffer = batch  # noqa: SLF001
        sent = await producer.send_batch(builder, settings.topic(topic), partition=partition)
        async with asyncio.timeout(_SECONDS):
            await sent
    finally:
        await producer.stop()
