"""What a workload says of an item (its outcome, or that a quota is used up), checked and bounded for the history."""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast, get_args

import orjson
from pydantic import JsonValue

from eldermesh.contract.ijson import UndecodableJsonError, check_ijson, parse_ijson
from eldermesh.contract.vocabulary import ErrorType
from services.router.engines.python.item_host.frames import MAX_OUTPUT_BYTES
from services.router.engines.python.item_host.outputs import bounded
from shared.backoff.asked_wait import asked_seconds
from shared.blobs.store import BlobStore
from shared.errors import MeshError
from shared.facts.jobs import FactResult
from shared.workloads import ItemFailed, ItemOutcome, ItemSucceeded, PauseJobError

MAX_INLINE_BYTES = 32 * 1024
"""A larger output goes to the blob store."""

_LARGEST_NUMBER = 2**53 - 1
"""Readers of JSON may change larger ones."""

_ERROR_TYPES = frozenset(get_args(ErrorType))

_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,17})?")
"""A number that any reader of JSON takes for the same: most results are one, and need no closer look."""

_SHORT_NUMBER = 34


class ItemPausedError(MeshError):
    """An item met a quota.

    Attributes:
        index: of the item.
        attempt: the attempt that cost `cost_micros`.
        reason: for people.
        resume_seconds: when to go on; None if unknown.
        cost_micros: what the item has cost so far, in millionths of a dollar.
    """

    def __init__(self, index: int, attempt: int, pause: PauseJobError) -> None:
        # A plug-in raised it, so its attributes may be anything.
        reason = getattr(pause, "reason", None)
        self.index = index
        self.attempt = _whole_number(getattr(pause, "attempt", None), 1) or attempt
        self.reason = bounded(reason) if isinstance(reason, str) and reason else "a quota is used up"
        self.resume_seconds = asked_seconds(getattr(pause, "resume_seconds", None))
        self.cost_micros = _whole_number(getattr(pause, "cost_micros", None), 0)
        super().__init__(f"item {index}: {self.reason}")


async def stored_result(
    outcome: ItemSucceeded, *, index: int, attempt: int, measured_seconds: float, blob_name: str, blobs: BlobStore
) -> FactResult:
    """The result of an item whose output is too large to stand in a fact; arguments as of `inline_result`.

    Raises:
        RetryableError: the blob store did not take the output.
    """
    seconds = measured_seconds if outcome.duration_seconds is None else outcome.duration_seconds
    measures = _measures(outcome, index, attempt, seconds)
    try:
        # In a thread: it may take seconds, and the claim has to be renewed meanwhile.
        await asyncio.to_thread(check_ijson, outcome.output_json)
    except UndecodableJsonError as error:
        return _failed(measures, "result_not_json", bounded(str(error)))
    url = await blobs.put(blob_name, outcome.output_json)
    return FactResult(**measures, status="succeeded", output_url=url)


def inline_result(outcome: ItemOutcome, *, index: int, attempt: int, measured_seconds: float) -> FactResult | None:
    """The result to publish; None: its output is too large to stand in a fact.

    `attempt` and `measured_seconds` are used where the outcome has none of its own.
    """
    seconds = measured_seconds if outcome.duration_seconds is None else outcome.duration_seconds
    measures = _measures(outcome, index, attempt, seconds)
    if isinstance(outcome, ItemFailed):
        error_type = outcome.error_type if outcome.error_type in _ERROR_TYPES else "internal"  # a plug-in chose it
        return _failed(measures, error_type, bounded(outcome.error_message))
    size = len(outcome.output_json)
    if size > MAX_OUTPUT_BYTES:
        return _failed(measures, "result_too_large", f"{size} bytes; at most {MAX_OUTPUT_BYTES}")
    if size > MAX_INLINE_BYTES:
        return None
    try:
        output = _as_it_will_stand(outcome.output_json)
    except UndecodableJsonError as error:
        return _failed(measures, "result_not_json", bounded(str(error)))
    return FactResult(**measures, status="succeeded", output=output)


def _measures(outcome: ItemOutcome, index: int, attempt: int, seconds: float) -> dict[str, Any]:
    tried = outcome.attempt or attempt
    milliseconds, cost = seconds * 1000, outcome.cost_micros or 0
    largest = _LARGEST_NUMBER
    if not (0 <= tried <= largest and 0 <= milliseconds <= largest and 0 <= cost <= largest):
        raise ValueError("an outcome's attempt, duration or cost is out of range")
    return {
        "item_index": index,
        "attempt": tried,
        "duration_ms": round(milliseconds),
        "cost_micros": outcome.cost_micros,
    }


def _failed(measures: dict[str, Any], error_type: ErrorType, message: str) -> FactResult:
    return FactResult(**measures, status="failed", error_type=error_type, error_message=message)


def _as_it_will_stand(output_json: bytes) -> JsonValue:
    """Read an output three levels deep, as it will lie in its record (object, results, result): depth is limited."""
    if len(output_json) <= _SHORT_NUMBER and _NUMBER.fullmatch(output_json):
        return cast("JsonValue", orjson.loads(output_json))
    value = cast("list[list[list[JsonValue]]]", parse_ijson(b"[[[" + output_json + b"]]]"))
    match value:
        case [[[output]]]:
            return output
        case _:
            raise UndecodableJsonError("not one JSON value")


def _whole_number(value: object, least: int) -> int | None:
    """The number; None if it is no integer or out of range."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if least <= value <= _LARGEST_NUMBER else None
