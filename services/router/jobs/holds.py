"""Folding holds: a job waits for a person and is approved, rejected, or denied because nobody decided in time."""

from __future__ import annotations

from dataclasses import replace

from eldermesh.contract.holds import HoldOutcome
from services.router.jobs import clock
from services.router.jobs.end import ended
from services.router.jobs.past_waits import hold_over
from services.router.jobs.state import JobState, Wait
from shared.facts.jobs import JobDecided, JobHeld
from shared.history.command_letter import command_letter
from shared.history.machine import Folded

MAX_DECIDED = 100
"""The newest commands, remembered one by one: more than are ever folded out of their order in the inbox."""


def held(state: JobState, fact: JobHeld) -> JobState:
    """The job waits for a person from now on; one timer limits the hold, the other is for a reminder."""
    waiting = replace(clock.stop_clock(state), hold=Wait(fact.reason, state.t, fact.until))
    waiting = clock.arm(waiting, clock.HOLD, fact.until)
    if fact.remind_at is None or fact.remind_at >= fact.until:
        return waiting
    return clock.arm(waiting, clock.REMIND, fact.remind_at)


def decided(state: JobState, fact: JobDecided) -> Folded[JobState]:
    """A person's decision: it counts or becomes a dead letter; a repeated command is ignored.

    The first decision on a hold counts, unless it is by the submitter.
    """
    job_id, coordinates = state.job_id, fact.inbox.coordinates
    if state.acceptance is None or _is_judged(state, fact):
        return Folded(state)
    own = state.terms is not None and state.terms.submitted_by == fact.by
    if state.hold is None:
        why = "it has ended" if state.end is not None else "nothing holds it"
        refusal = command_letter(job_id, fact, "conflict", f"job {job_id} does not wait for a decision: {why}")
    elif own:
        refusal = command_letter(job_id, fact, "invalid", f"by: {fact.by!r} submitted job {job_id} and cannot decide")
    else:
        refusal = None
    state = _judged(state, coordinates)
    if refusal is not None:
        return Folded(state, conflict=refusal)
    outcome: HoldOutcome = "approved" if fact.decision == "approve" else "rejected"
    state = hold_over(state, outcome, by=fact.by, reason=fact.reason, decision=coordinates)
    if fact.decision == "reject":
        return Folded(ended(state, "rejected", "denied", fact.reason or f"rejected by {fact.by}"))
    return Folded(clock.start_clock(replace(state, approved=True)))


def _is_judged(state: JobState, fact: JobDecided) -> bool:
    """Whether this command was folded before."""
    inbox = fact.inbox
    place = f"{inbox.topic}/{inbox.partition}"
    return inbox.coordinates in state.decided or inbox.offset <= state.decided_up_to.get(place, -1)


def _judged(state: JobState, coordinates: str) -> JobState:
    """The state with the command remembered; of commands beyond the newest it keeps only the highest offset."""
    known = (*state.decided, coordinates)
    up_to = dict(state.decided_up_to)
    for old in known[:-MAX_DECIDED]:
        place, _, offset = old.rpartition("/")
        up_to[place] = max(up_to.get(place, -1), int(offset))
    return replace(state, decided=known[-MAX_DECIDED:], decided_up_to=up_to)


def denied(state: JobState) -> JobState:
    """The end of a job on whose hold nobody decided in time."""
    return ended(hold_over(state, "timed_out"), "rejected", "denied", "nobody decided on the hold in time")
