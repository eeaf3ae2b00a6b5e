"""Spans that OTLP can carry: one text that it cannot would cost the whole batch of spans around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status

from shared.text.surrogates import whole_characters


def encodable(spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    """The spans with question marks for halves of characters, which a plug-in or a job may have put into any text."""
    return [span if _is_whole(_texts(span)) else _made_whole(span) for span in spans]


def _texts(span: ReadableSpan) -> Iterable[Any]:
    yield span.name
    yield span.status.description
    yield from _of_attributes(span.attributes)
    for event in span.events:
        yield event.name
        yield from _of_attributes(event.attributes)
    for link in span.links:
        yield from _of_attributes(link.attributes)


def _of_attributes(attributes: Mapping[str, Any] | None) -> Iterable[Any]:
    for name, value in (attributes or {}).items():
        yield name
        if isinstance(value, str):
            yield value
        elif isinstance(value, Sequence):
            yield from value


def _is_whole(values: Iterable[Any]) -> bool:
    return all(not isinstance(value, str) or value.isascii() or whole_characters(value) == value for value in values)


def _made_whole(span: ReadableSpan) -> ReadableSpan:
    events = [Event(whole_characters(each.name), _attributes(each.attributes), each.timestamp) for each in span.events]
    return ReadableSpan(
        name=whole_characters(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span.attributes),
        events=events,
        links=[Link(each.context, _attributes(each.attributes)) for each in span.links],
        kind=span.kind,
        status=Status(span.status.status_code, _whole(span.status.description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {whole_characters(name): _whole(value) for name, value in (attributes or {}).items()}


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return whole_characters(value)
    return [_whole(each) for each in value] if isinstance(value, list | tuple) else value
