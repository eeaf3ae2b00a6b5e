"""The span of a sent command: where a job's trace begins, if the program that sends it traces at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from eldermesh.contract.tenants import is_job_inbox
from eldermesh.contract.topics import CLAUDE_REQUESTS, JOBS

_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class SendSpan:
    """A span that runs, by its context as headers: `carrier` is empty where nobody traces."""

    carrier: dict[str, str]

    @property
    def trace_id(self) -> str | None:
        """32 hex digits; None where nobody traces, so that the mesh derives the trace id from the job id."""
        traceparent = self.carrier.get("traceparent")
        return None if traceparent is None else traceparent.split("-")[1]


@contextmanager
def send_span(topic: str, subject: str, *, inbox: str) -> Iterator[SendSpan]:
    """A producer span around sending a command, current meanwhile.

    Args:
        topic: full name of the inbox.
        subject: id of the job or request.
        inbox: name of the inbox without prefix.
    """
    tracer = trace.get_tracer("eldermesh.client")
    attributes = {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "eldermesh.request.id" if inbox == CLAUDE_REQUESTS else "eldermesh.job.id": subject,
    }
    name = f"send {JOBS if is_job_inbox(inbox) else inbox}"
    with tracer.start_as_current_span(name, kind=trace.SpanKind.PRODUCER, attributes=attributes):
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        yield SendSpan(carrier)
