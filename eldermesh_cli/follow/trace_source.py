"""Read a trace from Jaeger's query API, which the embedded stack's telemetry receiver answers too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from eldermesh.contract.times import format_time
from shared.http_client import NoHttpClientError, http_client
from shared.telemetry import names

QUERY_SECONDS = 10.0

_US_PER_SECOND = 1_000_000


class TraceUnavailableError(Exception):
    """The query API cannot be reached, or does not answer as such: look at its address."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span of a trace. Times are microseconds, `start_us` since 1970; `status` is `unset`, `ok` or `error`."""

    span_id: str
    parent_span_id: str | None
    name: str
    service_name: str
    start_us: int
    duration_us: int
    status: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> tuple[int, int, str]:
        """By what the spans of a trace are sorted: start, index of the item where it is of one, id."""
        index = self.attributes.get(names.ITEM_INDEX)
        return self.start_us, index if isinstance(index, int) else -1, self.span_id

    @property
    def start_at(self) -> str:
        """When it began, as the contract writes instants."""
        return format_time(self.start_us // 1000)

    @property
    def duration_seconds(self) -> float:
        """How long it took."""
        return self.duration_us / _US_PER_SECOND

    def as_json(self) -> dict[str, str | float | None]:
        """The span as `mesh trace --json` shows it."""
        return {
            "span_id": self.span_id,
            "parent_span_id": self.parent_span_id,
            "name": self.name,
            "service_name": self.service_name,
            "start_at": self.start_at,
            "duration_seconds": self.duration_seconds,
            "status": self.status,
        }


async def fetch_trace(query_url: str, trace_id: str) -> list[Span]:
    """The spans of a trace by start time; none if the trace is not known there (yet).

    Raises:
        TraceUnavailableError: nothing there answers as Jaeger's query API does.
    """
    address = f"{query_url.rstrip('/')}/api/traces/{quote(trace_id, safe='')}"
    try:
        async with http_client(address, timeout_seconds=QUERY_SECONDS) as client:
            answer = await client.get(address)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        answer.raise_for_status()
        return _spans(answer.json())
    except NoHttpClientError as error:
        raise TraceUnavailableError(f"no trace from {address}: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TraceUnavailableError(f"no trace from {address}: {error!r}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise TraceUnavailableError(f"{address} does not answer as Jaeger's query API does: {error!r}") from error


def _spans(document: dict[str, Any]) -> list[Span]:
    spans = {
        span.span_id: span
        for trace in document["data"] or ()
        for span in (_span(record, trace["processes"]) for record in trace["spans"])
    }
    return sorted(spans.values(), key=lambda span: span.place)


def _span(record: dict[str, Any], processes: dict[str, Any]) -> Span:
    tags = {tag["key"]: tag["value"] for tag in record.get("tags") or ()}
    parents = (
        reference["spanID"]
        for reference in record.get("references") or ()
        if reference["refType"] == "CHILD_OF" and _same(reference["traceID"], record["traceID"])
    )
    status = str(tags.get("otel.status_code", "ERROR" if _true(tags.get("error")) else "UNSET")).lower()
    return Span(
        span_id=record["spanID"].zfill(16),
        parent_span_id=next((parent.zfill(16) for parent in parents), None),
        name=record["operationName"],
        service_name=processes[record["processID"]]["serviceName"],
        start_us=int(record["startTime"]),
        duration_us=int(record["duration"]),
        status=status,
        attributes=tags,
    )


def _same(one: str, other: str) -> bool:
    """Jaeger may leave out leading zeros of ids."""
    return one.lstrip("0") == other.lstrip("0")


def _true(value: object) -> bool:
    return value is True or value == "true"
