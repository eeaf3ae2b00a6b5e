"""One table of what works: admission refuses by it, the docs show it, and it leaves no field out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eldermesh.contract.commands import JobCancel, JobDecide, JobSubmit
from services.router.admission.contract_support import NOT_SUPPORTED_YET, SUPPORT, support_markdown, unsupported

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "contract-support.md"


def _fields(command: str) -> set[str]:
    return {row.field for row in SUPPORT if row.command == command}


def test_the_page_is_made_from_the_table() -> None:
    """`python -m services.router.admission.contract_support` was run after the last change."""
    assert DOCS.read_text(encoding="utf-8") == support_markdown()


def test_every_field_of_the_contract_is_in_the_table() -> None:
    """No field is accepted and ignored for want of a row."""
    assert _fields("submit") == set(JobSubmit.model_fields)
    assert _fields("cancel") == set(JobCancel.model_fields)
    assert _fields("decide") == set(JobDecide.model_fields)


def _submit(**fields: Any) -> JobSubmit:
    return JobSubmit.model_validate({"workload": "python", "items": [1]} | fields)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"items": None, "items_url": "https://example.org/a"}, "items_url"),
        ({"stream": True}, "stream true"),
    ],
)
def test_refused_rows_refuse(fields: dict[str, Any], named: str) -> None:
    """Each refused row refuses what it names, and says so first thing."""
    reason = unsupported(_submit(**fields))
    assert reason is not None
    assert reason.startswith(f"{NOT_SUPPORTED_YET}: {named}")


def test_every_refused_row_of_submits_is_tried_above() -> None:
    """A row that is added needs a case."""
    assert sum(row.status == "refused" for row in SUPPORT if row.command == "submit") == 2
    assert all((row.refuses is not None) == (row.status == "refused") for row in SUPPORT if row.command == "submit")


def test_what_works_is_not_refused() -> None:
    """Every other field at once."""
    everything = _submit(
        options={"function": "math:sqrt"},
        job_id="0190c0de-0000-7000-8000-000000000001",
        idempotency_key="a",
        tenant="team",
        submitted_by="me",
        labels={"a": "b"},
        priority="batch",
        engine="celery",
        advice="none",
        active_timeout_seconds=1,
        expires_after_seconds=1,
        item_timeout_seconds=1,
        max_cost_usd=1,
        max_failed_items=1,
        stream=False,
    )
    assert unsupported(everything) is None
