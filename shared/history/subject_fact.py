"""A fact that an owner appends to the history of one of its subjects."""

from __future__ import annotations

from shared.facts.fact import Fact
from shared.history.facts import fact_headers
from shared.history.machine import NewFact
from shared.history.subject_state import SubjectState


def subject_fact(state: SubjectState, fact: Fact) -> NewFact:
    """The fact as it is appended: under its subject's id and in its trace, where that is known."""
    trace = state.trace
    traceparent, tracestate = (None, None) if trace is None else (trace.traceparent, trace.tracestate)
    headers = fact_headers(fact.fact_type, state.subject, traceparent, tracestate)
    return NewFact(fact.fact_type, fact.encode(), headers)
