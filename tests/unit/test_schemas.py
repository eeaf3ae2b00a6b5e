"""The JSON Schemas of public events say what the types say."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.schemas import CONTRACT_SCHEMA_NAMES, contract_schema
from tests.contract_records import dead_record, end, end_record, progress, progress_record, result, submit_record

JOB = str(UUID(int=1))


def _accepts(name: str, value: Any) -> bool:
    return jsonschema.Draft202012Validator(contract_schema(name)).is_valid(value)


def test_what_the_mesh_writes() -> None:
    """Faultless records fit; without any one of their fields they do not."""
    for name, value in (("job-progress", progress(JOB, 1, [result(0)])), ("job-end", end(JOB, succeeded=1, records=1))):
        assert _accepts(name, value)
        for field in value:
            assert not _accepts(name, {key: each for key, each in value.items() if key != field})
    for field in result(0):
        lacking = {key: each for key, each in result(0).items() if key != field}
        assert not _accepts("job-progress", progress(JOB, 1, [lacking]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("job-end", end(JOB, ended_at="2026-11-23 09:26:39")),
        ("job-end", end(JOB, trace_id="none")),
        ("job-end", end(JOB, status="done")),
        ("job-progress", progress(JOB, 0, [result(0)])),
        ("job-progress", progress(JOB, 1, [])),
        ("job-cancel", {"job_id": JOB.upper()[:-1]}),
        ("job-cancel", {"job_id": JOB, "why": "x"}),
        ("job-decide", {"job_id": JOB, "decision": "perhaps", "by": "me"}),
    ],
)
def test_what_does_not_fit(name: str, value: dict[str, Any]) -> None:
    """Wrong times, ids, words and unknown fields of commands are refused."""
    assert not _accepts(name, value)


def test_headers() -> None:
    """The headers of results, ends and dead letters fit their schemas."""
    for record in (progress_record(JOB, 1, [result(0)]), end_record(JOB)):
        assert _accepts("cloud-event-headers", {name: (value or b"").decode() for name, value in record.headers})
    letter = dead_record(submit_record(JOB, [1]), "invalid")
    headers = {name: (value or b"").decode() for name, value in letter.headers}
    assert _accepts("dead-letter-headers", headers)
    assert not _accepts("dead-letter-headers", headers | {"dlq_error_type": "other"})


def test_unknown_name() -> None:
    """Asking for another schema is a KeyError, and every name that is listed can be had."""
    with pytest.raises(KeyError):
        contract_schema("nothing")
    assert all(contract_schema(name)["$id"].startswith("urn:eldermesh:schema:") for name in CONTRACT_SCHEMA_NAMES)


_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "workload": st.sampled_from(["python", "Python", "", "a" * 63, "a" * 64, None]),
    "items": st.sampled_from([[1], [], None, "x", [[None]]]),
    "items_url": st.sampled_from(["http://x/y", "", None, 1]),
    "options": st.sampled_from([{}, {"function": "math:sqrt"}, [], None]),
    "job_id": st.sampled_from([JOB, "x", None]),
    "idempotency_key": st.sampled_from(["k", "", "k" * 256, "k" * 257, None]),
    "labels": st.sampled_from([{}, {"a": "b"}, {"a": 1}, {str(n): "" for n in range(33)}]),
    "priority": st.sampled_from(["batch", "urgent"]),
    "max_failed_items": st.sampled_from([0, -1, 100_000, 100_001, True, "1"]),
    "item_timeout_seconds": st.sampled_from([0.5, 1, 0, -1, None, "1"]),
    "stream": st.sampled_from([True, False, 0, "true"]),
    "other": st.just(1),
}


@given(st.fixed_dictionaries({}, optional=_FIELDS))
def test_submit_schema_and_type_agree(value: dict[str, Any]) -> None:
    """Whatever combination of good and bad fields: the schema accepts exactly what the type accepts."""
    try:
        JobSubmit.model_validate_json(json.dumps(value))
    except ValidationError:
        accepted = False
    else:
        accepted = True
    assert _accepts("job-submit", value) == accepted
