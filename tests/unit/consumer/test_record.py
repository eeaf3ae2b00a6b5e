"""A consumed record: what counts as its size, and what it shows of itself."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from shared.consumer.record import ConsumedRecord
from tests.unit.consumer.records import consumed


def test_the_size_is_that_of_key_value_and_headers() -> None:
    """In bytes, names of headers included; what is absent counts nothing."""
    assert consumed(b"12345", key=b"123", headers=(("ü", b"12"), ("a", None))).size_bytes == 5 + 3 + 2 + 2 + 1
    assert consumed(None).size_bytes == 0


def test_the_payload_is_never_shown() -> None:
    """Neither value nor key nor headers."""
    shown = repr(consumed(b"secret", key=b"secret", headers=(("a", b"secret"),)))
    assert shown == "ConsumedRecord(here.jobs/0/0, 19 bytes)"


def test_the_prefix_is_taken_off() -> None:
    """Only in front, and only once."""
    raw = ConsumerRecord("a.a.jobs", 1, 2, 3, 0, b"k", b"v", None, 1, 1, (("h", b"x"),))
    record = ConsumedRecord.of(raw, prefix="a.")
    assert (record.topic, record.inbox, record.coordinates) == ("a.a.jobs", "a.jobs", "a.a.jobs/1/2")
    assert (record.key, record.value, record.headers, record.unreadable) == (b"k", b"v", (("h", b"x"),), None)
