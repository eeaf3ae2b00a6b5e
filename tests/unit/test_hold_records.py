"""The checker of the contract on `jobs.holds`: records that keep its form, and records that break it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from eldermesh.contract.breach import FORM
from eldermesh.contract.cloudevents import HELD, HOLD_ENDED, HOLD_REMINDER, binary_headers
from eldermesh.contract.holds import hold_event_id
from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.invariants import breaches
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.times import format_time
from eldermesh.contract.topics import JOBS_HOLDS
from tests.contract_records import NOW_MS

JOB = str(UUID(int=1))
PARTS: dict[str, Any] = {HELD: None, HOLD_REMINDER: "reminder", HOLD_ENDED: "ended"}


def hold_record(event_type: str = HELD, *, offset: int = 0, **fields: Any) -> PublicRecord:
    """A faultless record, but for `fields`."""
    trace_id = trace_id_of(JOB)
    value = {
        "job_id": JOB,
        "hold": 1,
        "tenant": "default",
        "workload": "python",
        "labels": {},
        "submitted_by": None,
        "reason": "may write files",
        "held_at": format_time(NOW_MS),
        "until": format_time(NOW_MS + 5000),
        "recorded_at": format_time(NOW_MS),
        "outcome": "approved" if event_type == HOLD_ENDED else None,
        "by": "bob" if event_type == HOLD_ENDED else None,
        "decision_reason": None,
        "trace_id": trace_id,
    } | fields
    headers = binary_headers(
        event_id=hold_event_id(JOB, 1, PARTS[event_type]),
        event_type=event_type,
        source="/eldermesh/router",
        subject=JOB,
        time_ms=NOW_MS,
        traceparent=f"00-{trace_id}-00f067aa0ba902b7-01",
    )
    return PublicRecord(JOBS_HOLDS, 0, offset, JOB.encode(), tuple(headers), json.dumps(value).encode())


def test_a_hold_and_its_repeats() -> None:
    """Begun, told again, and over; each twice."""
    events = [hold_record(event_type, offset=number) for number, event_type in enumerate(PARTS)]
    again = [replace(event, offset=event.offset + 3) for event in events]
    assert breaches([*events, *again], inbox=False) == []


def test_repeats_that_differ() -> None:
    """Invariant 1 is for these, too."""
    other = hold_record(reason="another", offset=1)
    assert [each.invariant for each in breaches([hold_record(), other], inbox=False)] == [1]


@pytest.mark.parametrize(
    ("event_type", "fields", "detail"),
    [
        (HELD, {"until": "tomorrow"}, "until"),
        (HELD, {"outcome": "approved", "by": "bob"}, "outcome approved in"),
        (HOLD_ENDED, {"outcome": None, "by": None}, "outcome None in"),
        (HOLD_ENDED, {"by": None}, "by None"),
        (HOLD_ENDED, {"outcome": "timed_out"}, "by 'bob'"),
        (HOLD_REMINDER, {"hold": 2}, "ce_id"),
        (HELD, {"hold": 0}, "hold"),
        (HELD, {"trace_id": "f" * 32}, "another trace"),
    ],
)
def test_what_breaks_the_form(event_type: str, fields: dict[str, Any], detail: str) -> None:
    """Times, outcomes that do not fit the event, ids, traces."""
    (breach, *_) = breaches([hold_record(event_type, **fields)], inbox=False)
    assert breach.invariant == FORM
    assert detail in breach.detail


def test_what_is_no_hold_at_all() -> None:
    """No JSON, or a field that is not there."""
    broken = replace(hold_record(), value=b"{")
    assert [each.invariant for each in breaches([broken], inbox=False)] == [FORM]
    value = json.loads(hold_record().value or b"")
    del value["decision_reason"]
    lacking = replace(hold_record(), value=json.dumps(value).encode())
    (breach,) = breaches([lacking], inbox=False)
    assert "decision_reason is missing" in breach.detail
