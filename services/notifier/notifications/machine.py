"""The notification's machine, as the owner drives it: `notifications` → sends, and dead letters of what failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.topics import JOBS_DEAD
from eldermesh.counted import counted
from services.notifier.notifications.fold import fold_notification
from services.notifier.notifications.state import NotificationState, state_adapter
from shared.facts.fact import TimerFired
from shared.facts.notifications import NotificationEnded, NotificationFailed, NotificationReplanned
from shared.history.chunk_id import ChunkId
from shared.history.facts import FactRecord, fact_headers
from shared.history.machine import DispatchDue, Due, Folded, NewFact, Publication, TimerDue
from shared.history.subject_machine import SubjectMachine
from shared.history.subject_state import subject_fact
from shared.kafka.topics import NOTIFICATIONS

OWNER_WORKER_ID = "notifier"
_SPEC = b"{}"


@dataclass(frozen=True, slots=True)
class NotificationMachine(SubjectMachine[NotificationState]):
    """`Machine[NotificationState]`.

    Args:
        topic: the history's full name, for dead letters.
        partition: the owned partition, for dead letters.
        max_deaths: after so many deaths in a row a notification has failed.
    """

    topic: str
    partition: int
    max_deaths: int = 3
    history_topic: str = NOTIFICATIONS
    mark_fact_type: str = NotificationEnded.fact_type

    def fold(self, state: NotificationState | None, record: FactRecord) -> Folded[NotificationState]:
        """Fold one fact."""
        folded = fold_notification(state, record)
        # The runner gets the message from the owner; claims only need a specification to exist.
        is_new = state is None and folded is not None and folded.is_live
        return Folded(folded, spec=_SPEC if is_new else None)

    def due(self, state: NotificationState, now_ms: int) -> Sequence[Due]:
        """The dead letter, timer or send that is due."""
        planned = state.planned
        if planned is None or state.end is not None:
            return self.end_due(state)
        if planned.expires_at <= now_ms:
            return (TimerDue(state.expires_timer, subject_fact(state, TimerFired(timer_id=state.expires_timer))),)
        if state.resume_at is None:
            return (DispatchDue(state.chunk, state.deaths + 1, planned.channel),)
        if state.resume_at <= now_ms:
            return (TimerDue(state.resume_timer, subject_fact(state, TimerFired(timer_id=state.resume_timer))),)
        return ()

    def lane(self, state: NotificationState) -> str:
        """The channel."""
        return "" if state.planned is None else state.planned.channel

    def wake_at(self, state: NotificationState) -> int | None:
        """When it expires, or when its postponement ends."""
        if state.planned is None or state.end is not None:
            return None
        expires_at = state.planned.expires_at
        return expires_at if state.resume_at is None else min(expires_at, state.resume_at)

    def replan(self, state: NotificationState, dead: Sequence[ChunkId]) -> Sequence[NewFact]:
        """A new epoch for a dead run, or the end of a message that killed the notifier too often."""
        if not state.is_live or state.chunk not in dead:
            return ()
        deaths = state.deaths + 1
        if deaths >= self.max_deaths:
            reason = f"the notifier died {counted(deaths, 'time')} while it sent this"
            failed = NotificationFailed(worker_id=OWNER_WORKER_ID, reason=reason, only_epoch=state.epoch)
            return (subject_fact(state, failed),)
        plan = NotificationReplanned(epoch=state.epoch + 1, replaced=str(state.chunk), deaths=deaths)
        return (subject_fact(state, plan),)

    def chunks(self, state: NotificationState) -> Sequence[ChunkId]:
        """The only chunk, if the message is to be sent now."""
        return (state.chunk,) if state.is_live and state.resume_at is None else ()

    def mark(self, state: NotificationState) -> str:
        """When it was planned, and for which record."""
        return "" if state.planned is None else f"{state.planned_at}/{state.planned.inbox.coordinates}"

    def bitmap(self, state: NotificationState) -> bytes:  # noqa: ARG002 - the only item is done when it has ended
        """Empty: a notification without an end has no finished item."""
        return b""

    def encode(self, state: NotificationState) -> bytes:
        """JSON of the state."""
        return state_adapter().dump_json(state)

    def decode(self, raw: bytes, bitmap: bytes) -> NotificationState:  # noqa: ARG002 - see `bitmap`
        """Read a state back."""
        return state_adapter().validate_json(raw)

    def end_record(self, state: NotificationState) -> Publication:
        """The dead letter of a message that could not be sent.

        Raises:
            ValueError: it has not failed.
        """
        planned, end = state.planned, state.end
        if planned is None or end is None:
            raise ValueError(f"{state.notification_id} has not failed")
        reason = f"rule {planned.rule}, channel {planned.channel}: {end.reason}"
        headers = DeadLetterHeaders(
            topic=self.topic,
            partition=self.partition,
            offset=state.first_offset,
            error_type="internal",
            reason=reason,
            key=state.notification_id.encode(),
        ).encode(fact_headers(planned.fact_type, planned.job_id, planned.traceparent, planned.tracestate))
        # The key is its own id: with the job's id, the job would look refused.
        return Publication(JOBS_DEAD, state.notification_id, planned.encode(), headers)

    def end_mark(self, state: NotificationState) -> NewFact:
        """Its end as a fact of the history.

        Raises:
            ValueError: it has not ended.
        """
        end = state.end
        if end is None:
            raise ValueError(f"{state.notification_id} has not ended")
        return subject_fact(state, NotificationEnded(status=end.status, ended_at=end.at, reason=end.reason))
