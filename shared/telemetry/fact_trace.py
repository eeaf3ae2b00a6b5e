"""The trace context of admission's facts: that of the span they are appended in, or one made of the job's id."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from opentelemetry.trace import Span

from eldermesh.contract.ids import trace_id_of
from shared.telemetry.propagation import traceparent_of, tracestate_of


@dataclass(frozen=True, slots=True)
class FactTrace:
    """W3C trace context, and its trace id as 32 hexadecimal digits."""

    trace_id: str
    traceparent: str
    tracestate: str | None = None


def fact_trace(span: Span, job_id: str) -> FactTrace:
    """The context of `span`; where there is none (no telemetry, no context in the record) the one of the job's id."""
    traceparent = traceparent_of(span)
    if traceparent is None:
        return trace_of_job_id(job_id)
    return FactTrace(traceparent.split("-")[1], traceparent, tracestate_of(span))


def trace_of_job_id(job_id: str) -> FactTrace:
    """The same context at every redelivery: trace id and parent come from the job's id, and the trace is sampled."""
    digest = hashlib.sha256(job_id.encode()).hexdigest()
    trace_id = trace_id_of(job_id)
    if not int(trace_id, 16):  # a client may give the nil UUID, which is no trace id
        trace_id = digest[:32]
    return FactTrace(trace_id, f"00-{trace_id}-{digest[-16:]}-01")
