"""Folding advice: a job waits for the panel's advice or the end of its time, whichever is first in the log."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from pydantic import TypeAdapter

from services.router.jobs import clock
from services.router.jobs.state import JobState
from shared.facts.jobs import AdviceEntry, JobAdvised, JobHeld, JobRefused, JobReplanned, JobRouted, JobTerms
from shared.history.machine import Folded


def asked(state: JobState, terms: JobTerms) -> JobState:
    """The state of a job just accepted, with the timer of its advice: no decision is due while that is armed."""
    if terms.advise_within_ms <= 0:
        return state
    return clock.arm(state, clock.ADVISE, state.t + terms.advise_within_ms)


def advised(state: JobState, fact: JobAdvised) -> JobState:
    """The panel has advised. Advice counts once, and only while its timer is armed."""
    if clock.ADVISE not in state.timers:
        return state
    return clock.disarm(replace(state, advice=fact.entries), clock.ADVISE)


def with_own_advice(state: JobState, fact: JobRouted | JobReplanned | JobRefused | JobHeld) -> JobState:
    """The state with the router's own advice on its decision."""
    if isinstance(fact, JobReplanned) or not fact.advice:
        return state
    return replace(state, advice=(*state.advice, *fact.advice))


def with_annex(before: JobState, folded: Folded[JobState]) -> Folded[JobState]:
    """The fold's result, with all advice as an annex for runs if the advice of a live job has changed."""
    state = folded.state
    if state is None or not state.is_live or state.advice == before.advice:
        return folded
    return replace(folded, annex=_annexes().dump_json(state.advice))


def read_annex(raw: bytes | None) -> tuple[AdviceEntry, ...]:
    """The advice that `with_annex` wrote; empty if it wrote none."""
    return () if raw is None else _annexes().validate_json(raw)


@cache
def _annexes() -> TypeAdapter[tuple[AdviceEntry, ...]]:
    return TypeAdapter(tuple[AdviceEntry, ...])
