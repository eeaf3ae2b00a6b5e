"""Start a span of the registry around work, or record one of what is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.semconv.attributes.exception_attributes import (
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
)
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from shared.logs.exceptions import told, traceback_told
from shared.telemetry.names import SpanName

_SCOPE = "eldermesh"
_NS_PER_MS = 1_000_000
_LAST_MS = (2**64 - 1) // _NS_PER_MS
"""OTLP has 64 bits for nanoseconds; a span beyond them would cost the batch it is exported in."""

tracer = trace.get_tracer(_SCOPE)
"""Made once, since making one takes longer than a span; it follows the provider, whichever is installed, and when."""


@contextmanager
def span(
    name: SpanName,
    *,
    context: Context | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    links: Sequence[Link] = (),
) -> Iterator[Span]:
    """A span around the body of a `with`, current inside it, a child of `context` (default: of the current span).

    An exception that leaves the body is recorded and makes the span one that failed.
    """
    started = tracer.start_as_current_span(
        name.name,
        context=context,
        kind=name.kind,
        attributes=attributes,
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    )
    with started as current, failures_told(current):
        yield current


@contextmanager
def failures_told(current: Span) -> Iterator[None]:
    """Record an exception that leaves the body, and mark the span as failed; no message that may quote a job."""
    try:
        yield
    except Exception as error:
        attributes = {EXCEPTION_TYPE: type(error).__qualname__, EXCEPTION_MESSAGE: told(error)}
        current.add_event("exception", attributes | {EXCEPTION_STACKTRACE: traceback_told(error)})
        fail_span(current, told(error))
        raise


def record_span(
    name: SpanName,
    *,
    start_ms: int,
    end_ms: int,
    context: Context,
    attributes: Mapping[str, AttributeValue] | None = None,
    links: Sequence[Link] = (),
    error: str | None = None,
) -> SpanContext:
    """Record what is over, as a wait that is known only afterwards. `error` makes it a span that failed.

    Times are milliseconds since 1970. They may come from two machines: an end before the start counts as the start.
    """
    recorded = tracer.start_span(
        name.name,
        context=context,
        kind=name.kind,
        attributes=attributes,
        links=links,
        start_time=_nanoseconds(start_ms),
    )
    if error is not None:
        fail_span(recorded, error)
    recorded.end(end_time=_nanoseconds(max(start_ms, end_ms)))
    return recorded.get_span_context()


def fail_span(failed: Span, reason: str) -> None:
    """Mark a span as failed without an exception, as for a bad record that became a dead letter."""
    failed.set_status(Status(StatusCode.ERROR, reason))


def _nanoseconds(milliseconds: int) -> int:
    return min(max(0, milliseconds), _LAST_MS) * _NS_PER_MS
