"""Folding advice: the panel is waited for until it has spoken or its time is over, whichever is first in the log."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from pydantic import TypeAdapter

from services.router.jobs import clock
from services.router.jobs.state import JobState
from shared.facts.jobs import AdviceEntry, JobAdvised, JobHeld, JobRefused, JobReplanned, JobRouted, JobTerms
from shared.history.machine import Folded


def asked(state: JobState, terms: JobTerms) -> JobState:
    """The state of a job that has just been accepted: no decision is due while this timer is armed."""
    if terms.advise_within_ms <= 0:
        return state
    return clock.arm(state, clock.ADVISE, state.t + terms.advise_within_ms)


def advised(state: JobState, fact: JobAdvised) -> JobState:
    """The panel has spoken. It counts once, and not after its time."""
    if clock.ADVISE not in state.timers:
        return state
    return clock.disarm(replace(state, advice=fact.entries), clock.ADVISE)


def with_own_advice(state: JobState, fact: JobRouted | JobReplanned | JobRefused | JobHeld) -> JobState:
    """The state with what the router itself said when it decided."""
    if isinstance(fact, JobReplanned) or not fact.advice:
        return state
    return replace(state, advice=(*state.advice, *fact.advice))


def with_annex(before: JobState, folded: Folded[JobState]) -> Folded[JobState]:
    """What was folded, and, where the advice to a live job has changed, all of it for the job's runs."""
    state = folded.state
    if state is None or not state.is_live or state.advice == before.advice:
        return folded
    return replace(folded, annex=_annexes().dump_json(state.advice))


def read_annex(raw: bytes | None) -> tuple[AdviceEntry, ...]:
    """The advice as `with_annex` wrote it; none where it wrote nothing."""
    return () if raw is None else _annexes().validate_json(raw)


@cache
def _annexes() -> TypeAdapter[tuple[AdviceEntry, ...]]:
    return TypeAdapter(tuple[AdviceEntry, ...])
