"""The facts of `notifications`: one message each, by one rule, to one channel. Units as in `shared.facts.fact`.

No fact holds a channel's address or secret: a channel is known by its name, and looked up where the message is sent.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, get_args

from pydantic import Field

from shared.facts.fact import EpochMs, Fact, InboxRecord, RunFact, RunReplanned, TimerFired, decode_fact

Severity = Literal["info", "success", "warning", "failure"]
NotificationStatus = Literal["sent", "failed"]


class NotificationPlanned(Fact):
    """A rule wants something told on a channel: the message as it will be sent. The first of an id counts."""

    fact_type = "notification.planned"

    inbox: InboxRecord
    job_id: str
    event: str
    """What happened to the job: `end`, `hold:1`, `hold-reminder:1`."""
    rule: str
    channel: str
    severity: Severity
    title: str
    body: str
    html: str | None = None
    """The body of an e-mail, where its template has one."""
    payload: str | None = None
    """The body of a webhook, as it is signed."""
    expires_at: EpochMs
    """Not tried any more from then on."""
    max_attempts: Annotated[int, Field(ge=1)]
    fold_version: Annotated[int, Field(exclude_if=lambda version: version == 1)] = 1
    """It is folded by this version. 1 is not written: the fact stands in dead letters, too, whose bytes stay."""
    traceparent: str | None = None
    tracestate: str | None = None


class _AttemptFact(Fact):
    epoch: Annotated[int, Field(ge=1)]
    attempt: Annotated[int, Field(ge=1)]
    worker_id: str


class NotificationSending(_AttemptFact):
    """A run begins the attempt `attempt`: whether the message went out is not known until the next fact."""

    fact_type = "notification.sending"


class NotificationSent(_AttemptFact):
    """The channel took the message."""

    fact_type = "notification.sent"

    detail: str | None = None


class NotificationPostponed(_AttemptFact):
    """The channel did not take the message, but may later: try again at `until`."""

    fact_type = "notification.postponed"

    until: EpochMs
    reason: str


class NotificationFailed(Fact):
    """The channel will never take the message."""

    fact_type = "notification.failed"

    worker_id: str
    reason: str
    only_epoch: int | None = None
    """It counts only while this epoch is the current one; None: always. The owner reports so a run that seems dead."""


class NotificationReplanned(RunReplanned):
    """The decision to send under a higher epoch, because the claim on the run is dead."""

    fact_type = "notification.replanned"


class NotificationInterrupted(RunFact):
    """A notifier that stops in order has broken off its run of this epoch: send again; nobody died."""

    fact_type = "notification.interrupted"


class NotificationEnded(Fact):
    """The dead letter of a failed message stands on `jobs.dead`: it ends the message even if all other facts are gone.

    A message that was sent needs no such mark, since nothing is published of it, unless it is planned once more.
    """

    fact_type = "notification.ended"

    status: NotificationStatus
    ended_at: EpochMs
    reason: str | None = None


NotificationFact = (
    NotificationPlanned
    | NotificationSending
    | NotificationSent
    | NotificationPostponed
    | NotificationFailed
    | NotificationReplanned
    | NotificationInterrupted
    | TimerFired
    | NotificationEnded
)

NOTIFICATION_FACTS: dict[str, type[NotificationFact]] = {fact.fact_type: fact for fact in get_args(NotificationFact)}

decode_notification_fact = partial(decode_fact, NOTIFICATION_FACTS)
"""Read a fact of `notifications` from its type and its bytes. Raises as `decode_fact` does."""
