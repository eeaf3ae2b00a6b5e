"""The rank of a command before it is judged: what it says of itself, and last whatever is none."""

from __future__ import annotations

import pytest

from eldermesh.contract.cloudevents import CANCEL
from eldermesh.contract.vocabulary import MAX_RECORD_BYTES
from services.router.admission.ranking import CommandRanking
from shared.history.owner_parts import Rank
from shared.priorities import PRIORITIES
from tests.malformed import job, malformed
from tests.unit.consumer.records import consumed


def _weight_of(tenant: str) -> float:
    return 2.0 if tenant == "heavy" else 1.0


RANKING = CommandRanking(_weight_of)


def test_a_submit_has_its_priority_and_its_tenant() -> None:
    """Those of the contract where it says nothing."""
    assert RANKING(consumed(job()), 7) == Rank(PRIORITIES["normal"], 7, "default", 1.0)
    submit = job(priority="interactive", tenant="heavy")
    assert RANKING(consumed(submit), 8) == Rank(PRIORITIES["interactive"], 8, "heavy", 2.0)


def test_the_inbox_of_a_tenant_has_one_tenant() -> None:
    """Whatever a record claims."""
    ranking = CommandRanking(_weight_of, "heavy")
    assert ranking(consumed(job(tenant="other")), 0).tenant == "heavy"


def test_a_cancel_comes_with_the_interactive_ones() -> None:
    """It frees what others wait for."""
    cancel = consumed(b'{"job_id": "x"}', headers=(("ce_type", CANCEL.encode()),))
    assert RANKING(cancel, 0).priority == PRIORITIES["interactive"]


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"[" * 200_000, b"[]", b"\xff", job(items=["x" * MAX_RECORD_BYTES])], ids=repr
)
def test_what_is_no_command_comes_last(value: bytes | None) -> None:
    """Only its dead letter follows."""
    assert RANKING(consumed(value), 0).priority == PRIORITIES["batch"]


@pytest.mark.parametrize(("priority", "tenant"), [(1, 2), (None, None), (["interactive"], {}), ("urgent", [])])
def test_fields_of_a_wrong_type_count_as_missing(priority: object, tenant: object) -> None:
    """Admission refuses them later."""
    assert RANKING(consumed(job(priority=priority, tenant=tenant)), 0) == Rank(PRIORITIES["normal"], 0, "default", 1.0)


def test_any_record_has_a_rank() -> None:
    """Of a hundred that are no job, each in its own way."""
    for each in malformed():
        record = consumed(each.sent.value, key=each.sent.key, headers=each.sent.headers)
        assert RANKING(record, 0).priority in PRIORITIES.values()


def test_a_name_that_no_tenant_has_is_not_kept() -> None:
    """It is as large as the record; the record becomes a dead letter."""
    assert RANKING(consumed(job(tenant="x" * 200_000)), 0).tenant == "default"


def test_cancels_have_turns_of_their_own() -> None:
    """Whoever floods the default tenant does not hold up the cancels of all."""
    cancel = consumed(b'{"job_id": "x"}', headers=(("ce_type", CANCEL.encode()),))
    assert RANKING(cancel, 4) == Rank(PRIORITIES["interactive"], 4, "", 1.0)
