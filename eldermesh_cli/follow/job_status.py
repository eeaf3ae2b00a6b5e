"""What state a job is in, in the words of the contract, from the read model or from its dead letter."""

from __future__ import annotations

from collections.abc import Iterable

from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.results import ItemResult
from eldermesh.contract.times import format_time
from eldermesh_cli.answers.jobs import HoldStatus, ItemOfNote, JobStatus
from eldermesh_cli.dead_letters.topic import DeadLetter, dead_submit_of
from eldermesh_cli.program.connection import OpenMesh
from eldermesh_cli.program.errors import not_found
from services.router.read_model.job import Job, JobHold

_TRACEPARENT_PARTS = 4


async def job_status(opened: OpenMesh, job_id: str) -> JobStatus:
    """What is known of a job.

    Raises:
        CliError: `not_found`: nothing is known of it.
        MeshUnavailableError: the broker does not answer.
        redis.RedisError: Redis does not answer.
    """
    answer = await live_status(opened, job_id)
    if answer is not None:
        return answer
    letter = await dead_submit_of(opened.kafka, opened.topics, job_id)
    if letter is None:
        raise not_found(
            f"no job {job_id} is known", "`mesh list` shows the jobs that are, `mesh dlq ls` what was refused"
        )
    return status_of_dead(job_id, letter)


async def live_status(opened: OpenMesh, job_id: str) -> JobStatus | None:
    """What is known of an accepted job; None when the mesh has not accepted it."""
    job = await opened.jobs.job(job_id)
    return None if job is None else _status_of(job)


def _status_of(job: Job) -> JobStatus:
    end = job.end
    return JobStatus(
        job_id=job.job_id,
        state=job.state,
        waiting_for=job.waiting_for,
        waiting_until=None if job.waiting_until is None else format_time(job.waiting_until),
        engine=job.engine,
        items_total=job.items_total,
        items_succeeded=job.items_succeeded,
        items_failed=job.items_failed,
        items_running=job.items_running,
        accepted_at=format_time(job.accepted_at) if end is None else end.accepted_at,
        ended_at=None if end is None else end.ended_at,
        cost_usd=job.cost_usd,
        advice=[entry.model_dump(mode="json") for entry in job.advice],
        error_type=None if end is None else end.error_type,
        reason=job.reason,
        holds=holds_of(job.holds),
        trace_id=job.trace_id,
    )


def status_of_dead(job_id: str, letter: DeadLetter) -> JobStatus:
    """The status of a submit that was refused."""
    return JobStatus(
        job_id=job_id,
        state="dead",
        waiting_for=None,
        waiting_until=None,
        engine=None,
        items_total=None,
        items_succeeded=0,
        items_failed=0,
        items_running=0,
        accepted_at=None,
        cost_usd=None,
        advice=[],
        ended_at=format_time(letter.time_ms),
        error_type=letter.provenance.error_type,
        reason=letter.provenance.reason,
        trace_id=_trace_id_of_dead(job_id, letter),
    )


def holds_of(holds: Iterable[JobHold]) -> list[HoldStatus]:
    """Holds as an answer shows them."""
    return [
        HoldStatus(
            reason=hold.reason,
            held_at=format_time(hold.held_at),
            until=format_time(hold.until),
            ended_at=None if hold.ended_at is None else format_time(hold.ended_at),
            outcome=hold.outcome,
            by=hold.by,
            decision_reason=hold.decision_reason,
        )
        for hold in holds
    ]


def item_of_note(result: ItemResult | None) -> ItemOfNote | None:
    """What is said of an item by its result, if there is one."""
    if result is None:
        return None
    return ItemOfNote(
        item_index=result.item_index,
        duration_seconds=result.duration_seconds,
        error_type=result.error_type,
        error_message=result.error_message,
    )


def _trace_id_of_dead(job_id: str, letter: DeadLetter) -> str:
    parts = (header_text(letter.headers, "traceparent") or "").split("-")
    return parts[1] if len(parts) == _TRACEPARENT_PARTS else trace_id_of(job_id)
