"""A fact as a record of a history topic."""

from __future__ import annotations

from dataclasses import dataclass

from eldermesh.contract.cloudevents import Headers


@dataclass(frozen=True, slots=True)
class FactRecord:
    """A fact as read from the log, still encoded. `time_ms` is the record's time; `repr` never shows the value."""

    offset: int
    time_ms: int
    key: str
    fact_type: str
    value: bytes

    def __repr__(self) -> str:
        return f"FactRecord({self.fact_type} of {self.key} at {self.offset}, {len(self.value)} bytes)"


def fact_headers(fact_type: str, subject: str, traceparent: str | None, tracestate: str | None = None) -> Headers:
    """Headers of a fact: its type and subject, readable without decoding it, and the trace context."""
    headers: Headers = [("ce_type", fact_type.encode()), ("ce_subject", subject.encode())]
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    if tracestate:
        headers.append(("tracestate", tracestate.encode()))
    return headers
