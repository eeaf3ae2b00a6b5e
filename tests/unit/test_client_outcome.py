"""What a client makes of the dead letters under a job's id."""

from __future__ import annotations

import pytest

from eldermesh.client.errors import JobDeadError
from eldermesh.client.outcome import FollowedJob
from eldermesh.contract.cloudevents import CANCEL
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.topics import JOBS_DEAD

JOB = "00000000-0000-0000-0000-000000000001"


def shown(topic: str, *, ce_type: str | None = None) -> FollowedJob:
    """A job of somebody else, of which all that is there is one dead letter that was a record of this topic."""
    job = FollowedJob(JOB, fresh=False, inbox="prefix-jobs")
    original = [] if ce_type is None else [("ce_type", ce_type.encode())]
    headers = DeadLetterHeaders(f"prefix-{topic}", 0, 7, "internal", "the mesh failed on this record").encode(original)
    job.see_letter(PublicRecord(JOBS_DEAD, 0, 0, JOB.encode(), tuple(headers), b"{}"))
    job.all_past_seen()
    return job


def test_a_submit_that_is_refused_is_dead() -> None:
    """That is what the letter of a record of `jobs` says."""
    job = shown("jobs")
    assert job.settled.is_set()
    with pytest.raises(JobDeadError, match="the mesh failed on this record"):
        job.outcome()


@pytest.mark.parametrize(
    "topic", ["jobs.history", "jobs.done", "jobs.holds", "jobs.decisions", "claude.requests", "jobs.team"]
)
def test_a_record_of_another_topic_says_nothing_of_the_job(topic: str) -> None:
    """Sages or notifier may have failed on a fact or an event of a job that is well; a tenant may use another's id."""
    job = shown(topic)
    assert not job.settled.is_set()
    assert job.outcome() is None


def test_a_cancel_that_is_refused_says_nothing_of_the_job() -> None:
    """The job that was to be cancelled goes on."""
    assert shown("jobs", ce_type=CANCEL).outcome() is None
