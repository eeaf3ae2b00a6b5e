"""Fixed vectors of the public contract: whoever writes a client in another language gets the same from these."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from eldermesh.contract.canonical import canonical_bytes
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.ids import job_id_from_cloud_event, job_id_from_key, job_id_from_record, trace_id_of
from eldermesh.contract.partitions import murmur2, partition_of
from eldermesh.contract.times import format_time, parse_time


def test_derived_job_ids() -> None:
    """The three vectors of the contract."""
    assert job_id_from_key("default", "nightly-42") == "4f970e3e-d1a3-5d45-8587-591465c16100"
    assert job_id_from_cloud_event("default", "/ci/nightly", "run-7") == "882a6e5e-1abd-5bea-9777-db23cace2f2b"
    assert job_id_from_record("jobs", 3, 1042) == "9709a93a-2d92-5444-90cb-9c0c4237e7b1"


def test_ids_of_tenants_never_meet() -> None:
    """The same key of two tenants is two jobs, and a key cannot imitate another tenant's."""
    assert job_id_from_key("a", "k") != job_id_from_key("b", "k")
    assert job_id_from_key("a", "b\nk") != job_id_from_cloud_event("a", "b", "k")


def test_trace_id_of_a_job_without_trace() -> None:
    """The 16 bytes of the job id."""
    assert trace_id_of("4f970e3e-d1a3-5d45-8587-591465c16100") == "4f970e3ed1a35d458587591465c16100"


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        (b"abc", 479_470_107),
    ],
)
def test_murmur2_of_kafka(data: bytes, signed: int) -> None:
    """The vectors of Apache Kafka's own test (UtilsTest.testMurmur2), which are signed."""
    hashed = murmur2(data)
    assert (hashed - 2**32 if hashed >= 2**31 else hashed) == signed


def test_partitions() -> None:
    """Text and its UTF-8 bytes have the same partition, within bounds."""
    assert partition_of("ü", 12) == partition_of("ü".encode(), 12)
    assert {partition_of(str(number), 5) for number in range(100)} == set(range(5))


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_795_425_999_123, "2026-11-23T09:26:39.123Z"), (1, "1970-01-01T00:00:00.001Z")],
)
def test_times(milliseconds: int, text: str) -> None:
    """Milliseconds to text and back."""
    assert format_time(milliseconds) == text
    assert parse_time(text) == milliseconds


def test_canonical_form() -> None:
    """The example of RFC 8785, section 3.2.3: order by UTF-16 units, shortest numbers, least escapes."""
    source = (
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        '"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}'
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_bytes(json.loads(source)) == expected.encode()


def _content_hash(**fields: Any) -> str:
    return JobSubmit.model_validate({"workload": "python", "items": [1, "ü"]} | fields).content_hash()


@pytest.mark.parametrize(
    ("fields", "canonical"),
    [
        ({}, '{"items":[1,"ü"],"workload":"python"}'),
        (
            {"priority": "batch", "labels": {"b": "2", "a": "1"}, "max_cost_usd": 0.5},
            '{"items":[1,"ü"],"labels":{"a":"1","b":"2"},"max_cost_usd":0.5,"priority":"batch","workload":"python"}',
        ),
    ],
)
def test_content_hash_is_stable(fields: dict[str, Any], canonical: str) -> None:
    """Of this text and no other, so that no release changes it unseen: that would make conflicts of repeats."""
    assert _content_hash(**fields) == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    "same",
    [
        {"job_id": "4f970e3e-d1a3-5d45-8587-591465c16100"},
        {"idempotency_key": "nightly-42"},
        {"tenant": "default", "priority": "normal", "max_failed_items": 0, "stream": False, "labels": {}},
        {"max_cost_usd": None, "options": {}},
    ],
)
def test_same_content(same: dict[str, Any]) -> None:
    """Ids and fields that are written out with their defaults change nothing."""
    assert _content_hash(**same) == _content_hash()


@pytest.mark.parametrize(
    "other",
    [{"items": ["ü", 1]}, {"items": [1.5, "ü"]}, {"tenant": "other"}, {"options": {"function": "math:sqrt"}}],
)
def test_other_content(other: dict[str, Any]) -> None:
    """The order of items, a value, a tenant, an option change it."""
    assert _content_hash(**other) != _content_hash()


def test_whole_numbers_have_one_form() -> None:
    """1 and 1.0 are the same JSON number."""
    assert _content_hash(items=[1.0, "ü"]) == _content_hash(items=[1, "ü"])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"workload": "python"},
        {"workload": "python", "items": []},
        {"workload": "python", "items": [1], "items_url": "http://x/y"},
        {"workload": "python", "items": [1], "job_id": "4F970E3E-D1A3-5D45-8587-591465C16100"},
        {"workload": "python", "items": [1], "max_failed_items": True},
        {"workload": "python", "items": [1], "item_timeout_seconds": 0},
        {"workload": "python", "items": [1], "item_timeout_seconds": float("inf")},
        {"workload": "python", "items": [1], "labels": {str(number): "" for number in range(33)}},
        {"workload": "python\n", "items": [1]},
        {"workload": "python", "items": [0] * 100_001},
    ],
)
def test_refused_submits(fields: dict[str, Any]) -> None:
    """Each breaks one rule of the contract."""
    with pytest.raises(ValidationError):
        JobSubmit.model_validate(fields)
