"""Times that came from anywhere: whatever a record says, no state holds what cannot be printed."""

from __future__ import annotations

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from eldermesh.contract.times import LAST_MS, format_time, parse_time
from eldermesh.contract.vocabulary import UtcTime
from shared.facts.jobs import JobPaused, decode_job_fact


@pytest.mark.parametrize(
    ("epoch_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1970-01-01T00:00:00.000Z"),
        (-(10**30), "1970-01-01T00:00:00.000Z"),
        (1_795_490_799_000_000, "9999-12-31T23:59:59.999Z"),
        (10**400, "9999-12-31T23:59:59.999Z"),
        (LAST_MS, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_every_time_has_a_text(epoch_ms: int, text: str) -> None:
    """That of the nearest instant which has one."""
    assert format_time(epoch_ms) == text
    assert parse_time(text) == min(max(epoch_ms, 0), LAST_MS)


def test_a_fact_of_the_year_58871_can_be_read() -> None:
    """A history that holds one is folded: its instant becomes one that can be printed."""
    value = orjson.dumps({"reason": "quota", "until": 1_795_490_799_000_000})
    fact = decode_job_fact(JobPaused.fact_type, value)
    assert isinstance(fact, JobPaused)
    assert fact.until == LAST_MS


@pytest.mark.parametrize("text", ["9999-99-99T00:00:00.000Z", "0000-01-01T00:00:00.000Z", "2026-02-30T00:00:00.000Z"])
def test_a_record_with_a_time_that_there_is_not_is_invalid(text: str) -> None:
    """Whoever reads a public record can rely on its times."""
    with pytest.raises(ValidationError):
        TypeAdapter(UtcTime).validate_python(text)
