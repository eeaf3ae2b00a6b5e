"""A trace, read back through Jaeger's query API."""

from __future__ import annotations

from typing import Any

import httpx

_ANSWER_SECONDS = 10.0


def edges_of(query_url: str, trace_id: str) -> set[tuple[str, str]]:
    """Each parent and child of a trace by their names; empty while Jaeger has nothing of it."""
    answer = httpx.get(f"{query_url}/api/traces/{trace_id}", timeout=_ANSWER_SECONDS, trust_env=False)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return set()
    answer.raise_for_status()
    spans: list[dict[str, Any]] = [span for trace in answer.json()["data"] for span in trace["spans"]]
    names = {span["spanID"]: span["operationName"] for span in spans}
    return {
        (names[reference["spanID"]], span["operationName"])
        for span in spans
        for reference in span["references"]
        if reference["spanID"] in names
    }
