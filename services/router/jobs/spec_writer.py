"""The specification of a job for its runners, from the original bytes of its submit."""

from __future__ import annotations

import orjson

from eldermesh.contract.ijson import parse_ijson
from shared.facts.jobs import JobAccepted


def job_spec(fact: JobAccepted) -> bytes:
    """The specification that is kept in Redis while the job lives."""
    submit = parse_ijson(fact.original.encode())
    content = submit if isinstance(submit, dict) else {}
    terms = fact.terms
    return orjson.dumps(
        {
            "workload": terms.workload,
            "options": content.get("options", {}),
            "items": content.get("items"),
            "item_timeout_ms": terms.item_timeout_ms,
            "tenant": terms.tenant,
            "labels": terms.labels,
            "stream": terms.stream,
            "content_hash": fact.content_hash,
        }
    )
