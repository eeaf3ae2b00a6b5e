"""W3C trace context in Kafka headers and in plain mappings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from eldermesh.contract.cloudevents import Headers, header_text
from eldermesh.contract.ids import trace_id_of

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_W3C = TraceContextTextMapPropagator()


def context_from(traceparent: str | None, tracestate: str | None = None) -> Context:
    """The context that a carrier speaks of. It holds no parent if there is none, or none that is valid.

    It never depends on the span that is current here.
    """
    carrier = {TRACEPARENT: traceparent} if traceparent else {}
    if tracestate:
        carrier[TRACESTATE] = tracestate
    return _W3C.extract(carrier, context=Context())


def extract(carrier: Iterable[tuple[str, bytes | None]] | Mapping[str, str]) -> Context:
    """The context in Kafka headers (list or tuple, the last value of a name counts) or in a mapping.

    What is not UTF-8, or no trace context, is as if it were absent.
    """
    if isinstance(carrier, Mapping):
        return context_from(carrier.get(TRACEPARENT), carrier.get(TRACESTATE))
    headers = list(carrier)
    return context_from(header_text(headers, TRACEPARENT), header_text(headers, TRACESTATE))


def inject(carrier: Headers | dict[str, str], context: Context | None = None) -> None:
    """Put a context (default: the current one) into Kafka headers or a mapping, in place of what they hold.

    Without a span nothing is changed.
    """
    fields: dict[str, str] = {}
    _W3C.inject(fields, context=context)
    if not fields:
        return
    if isinstance(carrier, dict):
        carrier.pop(TRACESTATE, None)
        carrier.update(fields)
    else:
        carrier[:] = [header for header in carrier if header[0] not in {TRACEPARENT, TRACESTATE}]
        carrier.extend((name, value.encode()) for name, value in fields.items())


def traceparent_of(span: Span) -> str | None:
    """The `traceparent` that makes its receiver a child of this span; None for a span without identity."""
    return _fields_of(span).get(TRACEPARENT)


def tracestate_of(span: Span) -> str | None:
    """The `tracestate` that goes with `traceparent_of`; None if there is none."""
    return _fields_of(span).get(TRACESTATE)


def has_parent(context: Context) -> bool:
    """Whether a span started in this context would be a child."""
    return trace.get_current_span(context).get_span_context().is_valid


def _fields_of(span: Span) -> dict[str, str]:
    fields: dict[str, str] = {}
    _W3C.inject(fields, context=trace.set_span_in_context(span, Context()))
    return fields


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
