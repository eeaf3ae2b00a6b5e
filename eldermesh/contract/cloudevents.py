"""CloudEvents 1.0 in Kafka's binary mode: attributes are headers (`ce_*`), the value is the JSON data alone."""

from __future__ import annotations

from collections.abc import Iterable

from eldermesh.contract.times import format_time

Headers = list[tuple[str, bytes]]
"""Record headers as Kafka has them: ordered, names may repeat, values are bytes."""

SUBMIT = "eldermesh.job.submit.v1"
CANCEL = "eldermesh.job.cancel.v1"
DECIDE = "eldermesh.job.decide.v1"
PROGRESS = "eldermesh.job.progress.v1"
COMPLETED = "eldermesh.job.completed.v1"
FAILED = "eldermesh.job.failed.v1"
CANCELLED = "eldermesh.job.cancelled.v1"
REJECTED = "eldermesh.job.rejected.v1"
HELD = "eldermesh.job.held.v1"
HOLD_REMINDER = "eldermesh.job.hold_reminder.v1"
HOLD_ENDED = "eldermesh.job.hold_ended.v1"
CLAUDE_REQUEST = "eldermesh.claude.request.v1"
CLAUDE_CANCEL = "eldermesh.claude.cancel.v1"
CLAUDE_OUTPUT = "eldermesh.claude.output.v1"
CLAUDE_COMPLETED = "eldermesh.claude.completed.v1"
CLAUDE_FAILED = "eldermesh.claude.failed.v1"
CLAUDE_CANCELLED = "eldermesh.claude.cancelled.v1"


def binary_headers(
    *,
    event_id: str,
    event_type: str,
    source: str,
    subject: str | None,
    time_ms: int,
    traceparent: str | None = None,
    tracestate: str | None = None,
) -> Headers:
    """Headers of one event, in a fixed order, so that repeats of a projection are byte-identical."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_type", event_type.encode()),
        ("ce_source", source.encode()),
    ]
    if subject is not None:
        headers.append(("ce_subject", subject.encode()))
    headers.append(("ce_time", format_time(time_ms).encode()))
    headers.append(("content-type", b"application/json"))
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    if tracestate:
        headers.append(("tracestate", tracestate.encode()))
    return headers


def header_text(headers: Iterable[tuple[str, bytes | None]], name: str) -> str | None:
    """The last value of a header as text; None if it is absent or not UTF-8."""
    found: str | None = None
    for header, value in headers:
        if header == name and value is not None:
            try:
                found = value.decode("utf-8")
            except UnicodeDecodeError:
                found = None
    return found
