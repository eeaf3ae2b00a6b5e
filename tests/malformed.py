"""A hundred records that are no job, each in its own way, and what their dead letters have to say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from eldermesh.contract.vocabulary import DeadLetterType
from tests.inboxes import Sent

FUNCTION = {"function": "math:sqrt"}


@dataclass(frozen=True, slots=True)
class Malformed:
    """A record, the error type of its dead letter, and what its reason contains; `job_id` if that can be read."""

    sent: Sent
    error_type: DeadLetterType
    reason: str
    job_id: str | None = None


def job(**fields: Any) -> bytes:
    """A good submit, with fields to spoil."""
    return json.dumps({"workload": "python", "options": FUNCTION, "items": [4]} | fields).encode()


_ID = str(UUID(int=0xFACADE))

_UNDECODABLE: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b"hello", "not JSON"),
    (b"{'workload': 'python'}", "not JSON"),
    (job()[:-1], "not JSON"),
    (job() + b"}", "not JSON"),
    (job() + job(), "not JSON"),
    (b'{"workload": "python", "items": [1],}', "not JSON"),
    (b'{"workload": "python" "items": [1]}', "not JSON"),
    (b'{"workload": "python", "items": [01]}', "not JSON"),
    (b'{"workload": "python", "items": ["\t"]}', "not JSON"),
    (b'"' + b'\\"' * 100_000, "not JSON"),
    (b"\xff\xfe{}", "not UTF-8"),
    (b'{"workload": "python", "items": ["\xc3\x28"]}', "not UTF-8"),
    (job().decode().encode("utf-16"), "not UTF-8"),
    (b"\xef\xbb\xbf" + job(), "byte order mark"),
    (b'{"workload": "python", "items": [NaN]}', "NaN"),
    (b'{"workload": "python", "items": [Infinity]}', "Infinity"),
    (b'{"workload": "python", "items": [-Infinity]}', "Infinity"),
    (b'{"workload": "python", "items": [1e400]}', "too large"),
    (b'{"workload": "python", "items": [%d]}' % 2**64, "2^53"),
    (b'{"workload": "python", "items": [%d]}' % 2**53, "2^53"),
    (b'{"workload": "python", "items": [-%d]}' % 2**65, "2^53"),
    (b'{"workload": "python", "items": [' + b"9" * 5000 + b"]}", "2^53"),
    (b'{"workload": "python", "items": [1], "workload": "python"}', "duplicate name"),
    (b'{"workload": "python", "items": [{"a": 1, "a": 1}]}', "duplicate name"),
    (b'{"workload": "python", "items": ["\\ud800"]}', "surrogate"),
    (b'{"workload": "python", "items": [{"\\udfff": 1}]}', "surrogate"),
    (b"[" * 10_000, "deeper"),
    (b"[" * 10_000 + b"]" * 10_000, "deeper"),
    (b'{"workload": "python", "items": [' + b"[" * 63 + b"]" * 63 + b"]}", "deeper"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "deeper"),
]

_NOT_AN_OBJECT: list[bytes] = [b"null", b"true", b"1", b'"a job"', b"[]", b'[{"workload": "python", "items": [1]}]']

_INVALID: list[tuple[dict[str, Any], str]] = [
    ({"workload": None}, "workload"),
    ({"workload": 1}, "workload"),
    ({"workload": ""}, "workload"),
    ({"workload": "Python"}, "workload"),
    ({"workload": "a b"}, "workload"),
    ({"workload": "x" * 64}, "workload"),
    ({"workload": "nobody.offers-this"}, "nobody.offers-this"),
    ({"workload": "claude"}, "options of claude: function: unknown field"),
    ({"workload": "claude", "options": {}}, "items[0]: an item is a text"),
    ({"workload": "claude", "options": {}, "items": ["  "]}, "items[0]: an empty prompt"),
    ({"items": None}, "items"),
    ({"items": []}, "items"),
    ({"items": {}}, "items"),
    ({"items": "a"}, "items"),
    ({"items": None, "items_url": "https://example.org/items.jsonl"}, "not_supported_yet: items_url"),
    ({"items_url": "https://example.org/items.jsonl"}, "items"),
    ({"items_url": ""}, "items_url"),
    ({"options": None}, "options"),
    ({"options": []}, "options"),
    ({"options": {}}, "function"),
    ({"options": {"function": 1}}, "function"),
    ({"options": {"function": "os:system"}}, "os:system"),
    ({"idempotency_key": ""}, "idempotency_key"),
    ({"idempotency_key": "k" * 257}, "idempotency_key"),
    ({"idempotency_key": 1}, "idempotency_key"),
    ({"tenant": ""}, "tenant"),
    ({"tenant": "A Team"}, "tenant"),
    ({"tenant": None}, "tenant"),
    ({"submitted_by": ""}, "submitted_by"),
    ({"submitted_by": ["me"]}, "submitted_by"),
    ({"labels": []}, "labels"),
    ({"labels": {"a": 1}}, "labels.a"),
    ({"labels": {str(number): "x" for number in range(33)}}, "labels"),
    ({"labels": {"a": "x" * 257}}, "labels.a"),
    ({"priority": "urgent"}, "priority"),
    ({"priority": 0}, "priority"),
    ({"engine": "spark"}, "engine"),
    ({"advice": "some"}, "advice"),
    ({"active_timeout_seconds": 0}, "active_timeout_seconds"),
    ({"active_timeout_seconds": "10"}, "active_timeout_seconds"),
    ({"active_timeout_seconds": True}, "active_timeout_seconds"),
    ({"expires_after_seconds": -1}, "expires_after_seconds"),
    ({"item_timeout_seconds": 0.0}, "item_timeout_seconds"),
    ({"max_cost_usd": 0}, "max_cost_usd"),
    ({"max_failed_items": -1}, "max_failed_items"),
    ({"max_failed_items": 0.5}, "max_failed_items"),
    ({"stream": "yes"}, "stream"),
    ({"stream": True}, "not_supported_yet: stream"),
    ({"deadline": 5}, "deadline: unknown field"),
    ({"Workload": "python"}, "Workload: unknown field"),
    ({"": 1}, "unknown field"),
]

_BAD_HEADERS: list[tuple[tuple[tuple[str, bytes | None], ...], str]] = [
    ((("ce_type", b"eldermesh.job.submit.v2"),), "ce_type: unknown type"),
    ((("ce_type", b""),), "ce_type: unknown type"),
    ((("ce_type", b"\xff\xfe"),), "ce_type: not UTF-8"),
    ((("ce_source", b"/ci\xe9"), ("ce_id", b"1")), "ce_source: not UTF-8"),
    ((("content-type", b"application/cloudevents+json; charset=utf-8"),), "structured CloudEvents"),
]


def malformed() -> Iterator[Malformed]:
    """All of them."""
    for value, reason in _UNDECODABLE:
        yield Malformed(Sent(value), "undecodable", reason)
    yield Malformed(Sent(None, key=b"a tombstone"), "undecodable", "no value")
    for value in _NOT_AN_OBJECT:
        yield Malformed(Sent(value), "invalid", "not a JSON object")
    for fields, reason in _INVALID:
        # Ids that can be read are those under which the sender looks for the job.
        yield Malformed(Sent(job(job_id=_ID, **fields)), "invalid", reason, _ID)
    yield Malformed(Sent(job(job_id="nightly-42")), "invalid", "job_id")
    yield Malformed(Sent(job(job_id=_ID.upper())), "invalid", "job_id")
    too_many = b'{"workload": "python", "items": [' + b"1," * 100_000 + b"1]}"
    yield Malformed(Sent(too_many), "invalid", "items: list should have at most 100000 items")
    yield Malformed(Sent(b"{}"), "invalid", "workload: required")
    yield Malformed(Sent(b'{"workload": "python"}'), "invalid", "exactly one of items and items_url")
    yield Malformed(Sent(b'{"items": [1]}'), "invalid", "workload: required")
    for headers, reason in _BAD_HEADERS:
        yield Malformed(Sent(job(job_id=_ID), headers=headers), "invalid", reason, _ID)
    yield Malformed(Sent(job(job_id=_ID, items=["x" * 900_000])), "too_large", "262144", _ID)
    yield Malformed(Sent(b"x" * 900_000), "too_large", "262144")
    yield Malformed(Sent(job(), headers=(("padding", b"x" * 262_144),)), "too_large", "262144")
    yield Malformed(Sent(job(), key=b"k" * 262_144), "too_large", "262144")
    cancel_type = (("ce_type", b"eldermesh.job.cancel.v1"),)
    yield Malformed(Sent(b"{}", headers=cancel_type), "invalid", "job_id: required")
    yield Malformed(Sent(b'{"job_id": "no"}', headers=cancel_type), "invalid", "job_id")
    yield Malformed(Sent(b'{"job_id": "%s", "why": 1}' % _ID.encode(), headers=cancel_type), "invalid", "why", _ID)
    decide = json.dumps({"job_id": _ID, "decision": "approve", "by": "me"}).encode()
    yield Malformed(
        Sent(decide, headers=(("ce_type", b"eldermesh.job.decide.v1"),)), "invalid", "does not belong on jobs", _ID
    )
