"""What state a job is in, in the words of the contract, from the router's state of it or from its dead letter."""

from __future__ import annotations

from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.times import format_time
from eldermesh_cli.answers.jobs import HoldStatus, JobStatus, StateWord, WaitWord
from eldermesh_cli.dead_letters.topic import DeadLetter, dead_submit_of
from eldermesh_cli.program.connection import OpenMesh
from services.router.jobs import clock
from services.router.jobs.state import JobState

_MICROS = 1_000_000
_TRACEPARENT_PARTS = 4


async def job_status(opened: OpenMesh, job_id: str) -> JobStatus | None:
    """What is known of a job; None when nothing is.

    Raises:
        MeshUnavailableError: the broker does not answer.
        redis.RedisError: Redis does not answer.
    """
    answer = await live_status(opened, job_id)
    if answer is not None:
        return answer
    letter = await dead_submit_of(opened.bootstrap, opened.topics, job_id)
    return None if letter is None else status_of_dead(job_id, letter)


async def live_status(opened: OpenMesh, job_id: str) -> JobStatus | None:
    """What is known of an accepted job; None when the mesh has not accepted it."""
    state = await opened.jobs.state(job_id)
    if state is None or state.acceptance is None:
        return None
    trouble = await opened.jobs.trouble(job_id) if state.is_live else None
    return status_of(state, await opened.jobs.items_running(state), trouble)


def status_of(state: JobState, items_running: int, trouble: str | None = None) -> JobStatus:
    """The status of an accepted job; `trouble` is what its owner has told of it."""
    end = None if state.end is None else JobEnd.model_validate_json(state.end.value)
    waiting_for, waiting_until = _waiting(state, items_running)
    accepted_at = 0 if state.acceptance is None else state.acceptance.at
    cost_usd = None if state.cost_micros is None else state.cost_micros / _MICROS
    return JobStatus(
        job_id=state.job_id,
        state=state_word(state, items_running),
        waiting_for=waiting_for,
        waiting_until=None if waiting_until is None else format_time(waiting_until),
        engine=state.engine if end is None else end.engine,
        items_total=state.items_total if end is None else end.items_total,
        items_succeeded=state.succeeded if end is None else end.items_succeeded,
        items_failed=state.failed if end is None else end.items_failed,
        items_running=items_running,
        accepted_at=format_time(accepted_at) if end is None else end.accepted_at,
        ended_at=None if end is None else end.ended_at,
        cost_usd=cost_usd if end is None else end.cost_usd,
        advice=[entry.model_dump(mode="json") for entry in state.advice],
        error_type=None if end is None else end.error_type,
        reason=_reason(state) or trouble if end is None else end.reason,
        holds=holds_of(state),
        trace_id=trace_id_of(state.job_id) if state.acceptance is None else state.acceptance.trace_id,
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


def state_word(state: JobState, items_running: int) -> StateWord:
    """`accepted` until a runner has begun, and how it ended once it has."""
    if state.end is not None:
        return state.end.status
    if state.hold is not None:
        return "held"
    if state.pause is not None:
        return "paused"
    return "running" if items_running or state.sequence else "accepted"


def _waiting(state: JobState, items_running: int) -> tuple[WaitWord | None, int | None]:
    """What a job waits for, and until when at the latest."""
    if state.end is not None:
        return None, None
    if state.hold is not None:
        return "decision", state.hold.until
    if state.pause is not None:
        return "quota", state.pause.until
    if clock.ADVISE in state.timers:
        return "advice", state.timers[clock.ADVISE].due
    if state.engine is None:
        return "routing", None
    return (None if items_running else "engine"), None


def holds_of(state: JobState) -> list[HoldStatus]:
    """The holds of a job that are remembered, the oldest first."""
    holds = [
        HoldStatus(
            reason=wait.reason,
            held_at=format_time(wait.since),
            until=format_time(wait.until),
            ended_at=format_time(wait.ended_at),
            outcome=wait.outcome,
            by=wait.by,
            decision_reason=wait.decision_reason,
        )
        for wait in state.waits
        if wait.kind == "hold"
    ]
    if state.hold is not None:
        held_at, until = format_time(state.hold.since), format_time(state.hold.until)
        holds.append(HoldStatus(reason=state.hold.reason, held_at=held_at, until=until))
    return holds


def _reason(state: JobState) -> str | None:
    wait = state.hold or state.pause
    return None if wait is None else wait.reason


def _trace_id_of_dead(job_id: str, letter: DeadLetter) -> str:
    parts = (header_text(letter.headers, "traceparent") or "").split("-")
    return parts[1] if len(parts) == _TRACEPARENT_PARTS else trace_id_of(job_id)
