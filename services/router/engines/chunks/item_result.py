"""What an item's outcome becomes in the history: checked, bounded, and by reference when it is large."""

from __future__ import annotations

import asyncio
from typing import cast, get_args

from pydantic import JsonValue

from eldermesh.contract.ijson import UndecodableJsonError, check_ijson, parse_ijson
from eldermesh.contract.vocabulary import ErrorType
from services.router.engines.chunks.item_pause import LARGEST_NUMBER
from services.router.engines.python.item_host import MAX_OUTPUT_BYTES, bounded
from shared.blobs.store import BlobStore
from shared.facts.jobs import FactResult
from shared.workloads import ItemFailed, ItemOutcome

MAX_INLINE_BYTES = 32 * 1024
"""A larger output goes to the blob store."""

_ERROR_TYPES = frozenset(get_args(ErrorType))


async def fact_result(
    outcome: ItemOutcome, *, index: int, attempt: int, measured_seconds: float, blob_name: str, blobs: BlobStore
) -> FactResult:
    """The result to publish. `attempt` and `measured_seconds` count where the outcome has none of its own.

    Raises:
        RetryableError: the blob store did not take the output.
    """
    seconds = measured_seconds if outcome.duration_seconds is None else outcome.duration_seconds
    result = FactResult(
        item_index=index,
        status="failed",
        attempt=outcome.attempt or attempt,
        duration_ms=round(seconds * 1000),
        cost_micros=outcome.cost_micros,
    )
    if any(not 0 <= number <= LARGEST_NUMBER for number in (result.attempt, seconds * 1000, result.cost_micros or 0)):
        raise ValueError("an outcome's attempt, duration or cost is beyond all")
    if isinstance(outcome, ItemFailed):
        error_type = outcome.error_type if outcome.error_type in _ERROR_TYPES else "internal"  # a plug-in's word
        return result.model_copy(update={"error_type": error_type, "error_message": bounded(outcome.error_message)})
    size = len(outcome.output_json)
    if size > MAX_OUTPUT_BYTES:
        message = f"{size} bytes; at most {MAX_OUTPUT_BYTES}"
        return result.model_copy(update={"error_type": "result_too_large", "error_message": message})
    try:
        if size > MAX_INLINE_BYTES:
            # On a thread: it may take seconds, and the claim is renewed meanwhile.
            await asyncio.to_thread(check_ijson, outcome.output_json)
            url = await blobs.put(blob_name, outcome.output_json)
            return result.model_copy(update={"status": "succeeded", "output_url": url})
        output = _as_it_will_stand(outcome.output_json)
    except UndecodableJsonError as error:
        return result.model_copy(update={"error_type": "result_not_json", "error_message": bounded(str(error))})
    return result.model_copy(update={"status": "succeeded", "output": output})


def _as_it_will_stand(output_json: bytes) -> JsonValue:
    """Read an output as deep as it will lie in its record (object, results, result), where depth is bounded."""
    value = cast("list[list[list[JsonValue]]]", parse_ijson(b"[[[" + output_json + b"]]]"))
    match value:
        case [[[output]]]:
            return output
        case _:
            raise UndecodableJsonError("not one JSON value")
