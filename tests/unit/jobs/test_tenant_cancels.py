"""Cancels from the inboxes of tenants: each ends jobs of its tenant, known or not, and no others."""

from __future__ import annotations

import pytest

from eldermesh.contract.deadletters import DeadLetterHeaders
from services.router.jobs.machine import JobMachine
from shared.facts.fact import InboxRecord
from shared.facts.jobs import JobTenantCancelRequested, decode_job_fact
from shared.history.accepted_state import STUB_MS
from tests.unit.jobs.story import JOB, Story, accepted, cancel

MACHINE = JobMachine()


def cancel_of(tenant: str, reason: str | None = "enough", *, offset: int = 50) -> JobTenantCancelRequested:
    """A cancel from the inbox of a tenant."""
    return JobTenantCancelRequested(
        inbox=InboxRecord(topic=f"here.jobs.{tenant}", partition=2, offset=offset),
        inbox_key_base64="a2V5",
        inbox_headers_base64=(("x", "AAE="),),
        original='{"job_id":"this one"}',
        tenant=tenant,
        reason=reason,
    )


def test_its_own_job_ends() -> None:
    """As by a cancel on `jobs`."""
    story = Story()
    story.tell(accepted(tenant="team"))
    folded = story.tell(cancel_of("team"))

    assert folded.conflict is None
    assert (story.end["status"], story.end["reason"]) == ("cancelled", "enough")


def test_the_job_of_another_goes_on() -> None:
    """The cancel becomes a dead letter with its bytes, key, headers and place; the job does not notice."""
    story = Story()
    story.tell(accepted(tenant="other"))
    before = story.untouched
    letter = story.tell(cancel_of("team")).conflict

    assert story.untouched == before
    assert letter is not None
    assert (letter.key, letter.value) == (JOB, b'{"job_id":"this one"}')
    said = DeadLetterHeaders.decode(letter.headers)
    assert (said.topic, said.partition, said.offset, said.key) == ("here.jobs.team", 2, 50, b"key")
    assert (said.error_type, said.reason) == ("invalid", f"job {JOB} is not of tenant team, whose inbox this is")
    assert ("x", b"\x00\x01") in letter.headers


@pytest.mark.parametrize("tenant", ["team", "other"])
def test_an_ended_job_stays_as_it_is(tenant: str) -> None:
    """No dead letter either: a cancel that comes late is nobody's mistake, and an end keeps no terms."""
    story = Story()
    story.tell(accepted(tenant=tenant), cancel())
    before = story.untouched

    assert story.tell(cancel_of("team", "too late")).conflict is None
    assert story.untouched == before


def test_where_only_the_end_is_left_nothing_is_known_of_its_tenant() -> None:
    """Retention has taken the acceptance: the cancel does nothing, and there is nothing to refuse."""
    whole = Story()
    whole.tell(accepted(tenant="other"), cancel())
    mark = MACHINE.end_mark(whole.job)
    story = Story()
    story.tell(decode_job_fact(mark.fact_type, mark.value))
    before = story.untouched

    assert story.tell(cancel_of("team")).conflict is None
    assert story.untouched == before


def test_a_cancel_before_the_submit_waits_for_this_tenants_job() -> None:
    """It ends at once, with the reason of its own tenant's latest cancel."""
    story = Story()
    story.tell(cancel_of("other", "not mine"), cancel_of("team", "first"), cancel_of("team", "second", offset=51))
    assert not story.job.is_made
    story.tell(accepted(tenant="team"))

    assert (story.end["status"], story.end["reason"]) == ("cancelled", "second")
    assert story.job.tenant_stubs == {}


def test_a_cancel_before_the_submit_of_another_is_nothing() -> None:
    """Nobody can end jobs of others by guessing their ids."""
    story = Story()
    story.tell(cancel_of("team"))
    story.tell(accepted(tenant="other"))

    assert story.job.is_live
    assert story.job.tenant_stubs == {}


def test_a_cancel_on_jobs_is_not_undone_by_one_of_a_tenant() -> None:
    """What came first on `jobs` ends any tenant's job."""
    story = Story()
    story.tell(cancel("by the operator"), cancel_of("team", "mine"))
    story.tell(accepted(tenant="other"))

    assert (story.end["status"], story.end["reason"]) == ("cancelled", "by the operator")


@pytest.mark.parametrize(("later", "is_live"), [(STUB_MS, False), (STUB_MS + 1, True)])
def test_it_waits_for_a_day(later: int, is_live: bool) -> None:  # noqa: FBT001 - a parameter of pytest's
    """By fact times."""
    story = Story()
    story.tell(cancel_of("team"), at=5)
    story.tell(accepted(tenant="team"), at=5 + later)

    assert story.job.is_live is is_live


def test_a_stub_is_kept_in_redis() -> None:
    """A restart of the owner forgets none."""
    story = Story()
    story.tell(cancel_of("team"))

    assert MACHINE.decode(MACHINE.encode(story.job), b"") == story.job
