"""Which span is below which in the trace of a job: one matrix, asserted on real traces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eldermesh_cli.follow.trace_source import Span

Edge = tuple[str, str]
"""Name of the parent, name of the child."""

PUBLISHER_EDGES: list[Edge] = [("send jobs", "process jobs")]
"""Only where the publisher is traced: the command line and the Python client are."""

DECISION_EDGES: list[Edge] = [("send jobs.decisions", "process jobs.decisions")]
"""In a trace of its own, where whoever decides is traced."""

EDGES: list[Edge] = [
    ("process jobs", "accept job"),
    ("accept job", "decide job"),
    ("accept job", "dispatch chunk"),
    ("dispatch chunk", "queue wait"),
    ("dispatch chunk", "process chunk"),
    ("process chunk", "process item"),
    ("accept job", "end job"),
]
"""What every job has that ran on an engine."""

WAIT_EDGES: list[Edge] = [("accept job", "hold"), ("accept job", "pause")]
"""What a job has that waited for a person, or for quota."""

ADVICE_EDGES: list[Edge] = [
    ("accept job", "process jobs.history"),
    ("process jobs.history", "advise job"),
    ("advise job", "ask sage"),
]
"""What a job has that the sages were asked about."""

CLAUDE_EDGES: list[Edge] = [("process item", "start cli")]
"""What a job has beside that whose items are prompts."""

CLI_EDGES: list[Edge] = [
    ("process item", "claude_code.interaction"),
    ("claude_code.interaction", "claude_code.llm_request"),
]
"""What the Claude CLI adds to that by itself; the names are the CLI's."""

REQUEST_PUBLISHER_EDGES: list[Edge] = [("send claude.requests", "process claude.requests")]
"""Only where the publisher of a request is traced."""

REQUEST_EDGES: list[Edge] = [
    ("process claude.requests", "accept request"),
    ("accept request", "request wait"),
    ("accept request", "process request"),
    ("process request", "start cli"),
    ("accept request", "end request"),
]
"""What every prompt has that ran on its own."""

NOTIFICATION_EDGES: list[Edge] = [
    ("accept job", "process jobs.done"),
    ("process jobs.done", "plan notification"),
    ("plan notification", "send notification"),
]
"""What a job has whose end a rule wants told."""

HOLD_NOTIFICATION_EDGES: list[Edge] = [
    ("accept job", "process jobs.holds"),
    ("process jobs.holds", "plan notification"),
]
"""What a job has besides, whose hold a rule wants told."""

NOT_RECEIVED = "(not received)"


def edges_of(spans: Sequence[Span]) -> set[Edge]:
    """All edges of a trace; a parent that was not received is `NOT_RECEIVED`."""
    names = {span.span_id: span.name for span in spans}
    return {
        (names.get(span.parent_span_id, NOT_RECEIVED), span.name) for span in spans if span.parent_span_id is not None
    }


def assert_edges(spans: Sequence[Span], edges: Iterable[Edge] = EDGES) -> None:
    """Fail unless each of `edges` is in the trace, and every span named as a child in them has a parent they allow."""
    wanted, found = set(edges), edges_of(spans)
    children = {child for _, child in wanted}
    missing = wanted - found
    foreign = {edge for edge in found - wanted if edge[1] in children}
    roots = {span.name for span in spans if span.parent_span_id is None} & children
    assert not missing, f"edges that are not in the trace: {sorted(missing)}; it has {sorted(found)}"
    assert not foreign, f"spans below a parent they do not belong to: {sorted(foreign)}"
    assert not roots, f"spans without a parent: {sorted(roots)}"
