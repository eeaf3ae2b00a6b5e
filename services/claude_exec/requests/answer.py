"""The fact of a run's outcome: checked, bounded, and with a reference to the result if that is large."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from eldermesh.contract.claude_output import ClaudeUsage
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from services.claude_exec.outcomes.outcome import ClaudeOutcome, count_of
from shared.blobs.store import BlobStore
from shared.errors import ConfigurationError
from shared.facts.claude import ClaudeAnswered
from shared.facts.fact import ChunkTimes
from shared.text.surrogates import whole_characters

MAX_INLINE_BYTES = 32 * 1024
"""A larger result goes to the blob store."""

MAX_RESULT_BYTES = 64 * 1024 * 1024
_MAX_MESSAGE_CHARACTERS = 2000


async def answer_of(
    outcome: ClaudeOutcome,
    *,
    epoch: int,
    worker_id: str,
    output_records: int,
    times: ChunkTimes,
    blob_name: str,
    blobs: BlobStore,
) -> ClaudeAnswered:
    """The fact to append.

    Raises:
        RetryableError: the blob store did not take the result.
    """
    answer = ClaudeAnswered(
        epoch=epoch,
        worker_id=worker_id,
        outcome=outcome.outcome,
        error_type=outcome.error_type,
        message=_bounded(outcome.message) or None,
        model=outcome.model,
        turns=outcome.turns,
        usage=usage_of(outcome.usage),
        cost_micros=outcome.cost_micros,
        run_ms=round(outcome.duration_seconds * 1000),
        output_records=output_records,
        times=times,
    )
    if outcome.outcome != "ok":
        return answer
    try:
        raw = json.dumps(outcome.output, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        result = _as_it_will_stand(raw)
    except (UndecodableJsonError, ValueError, RecursionError) as error:
        return _failed(answer, "result_not_json", str(error))
    if len(raw) <= MAX_INLINE_BYTES:
        return answer.model_copy(update={"result": result})
    if len(raw) > MAX_RESULT_BYTES:
        return _failed(answer, "result_too_large", f"{len(raw)} bytes; at most {MAX_RESULT_BYTES}")
    try:
        url = await blobs.put(blob_name, raw)
    except ConfigurationError as error:
        return _failed(answer, "internal", str(error))
    return answer.model_copy(update={"result_url": url})


def usage_of(usage: Mapping[str, Any] | None) -> ClaudeUsage | None:
    """The tokens of a usage report; a missing number counts as 0."""
    if usage is None:
        return None
    return ClaudeUsage(**{name: count_of(usage.get(name)) or 0 for name in ClaudeUsage.model_fields})


def _failed(answer: ClaudeAnswered, error_type: str, message: str) -> ClaudeAnswered:
    return answer.model_copy(
        update={"outcome": "invalid", "error_type": error_type, "message": _bounded(message), "result": None}
    )


def _as_it_will_stand(raw: bytes) -> JsonValue:
    """Parse a result one level deep, as in its record, because the depth of JSON is limited."""
    value = parse_ijson(b"[" + raw + b"]")
    return value[0] if isinstance(value, list) else None


def _bounded(text: str) -> str:
    return whole_characters(text)[:_MAX_MESSAGE_CHARACTERS]
