"""From a record's bytes to the JSON object that a command is; nothing is known of its fields yet."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import JsonValue

from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.vocabulary import MAX_RECORD_BYTES
from shared.consumer.record import ConsumedRecord
from shared.errors import DeadLetterError

MAX_BYTES_READ_FOR_ID = 1024 * 1024
"""A record that is too large is still parsed up to here, so that its sender finds the dead letter by its id."""


def read_object(
    record: ConsumedRecord,
    *,
    readable_id: Callable[[JsonValue], str | None],
    derived_id: Callable[[JsonValue, ConsumedRecord], str | None],
) -> dict[str, JsonValue]:
    """The object that a record's value is.

    Args:
        record: as it came.
        readable_id: the id that a value gives.
        derived_id: the id that a value gives, or would have got.

    Raises:
        DeadLetterError: too large, no I-JSON object, or its headers say that it is something else.
    """
    if record.size_bytes > MAX_RECORD_BYTES:
        raise DeadLetterError(
            "too_large",
            f"key, value and headers have {record.size_bytes} bytes, at most {MAX_RECORD_BYTES} are allowed",
            job_id=_id_of_large(record, derived_id),
        )
    # First: they may say that the value is no JSON.
    refusal = _refusal_of_headers(record)
    if refusal is not None:
        raise DeadLetterError("invalid", refusal, job_id=_readable_id(record, readable_id))
    value = _parse(record)
    if not isinstance(value, dict):
        raise DeadLetterError("invalid", f"the value is {_kind(value)}, not a JSON object")
    return value


def _parse(record: ConsumedRecord) -> JsonValue:
    if record.value is None:
        raise DeadLetterError("undecodable", "the record has no value")
    try:
        return parse_ijson(record.value)
    except UndecodableJsonError as error:
        raise DeadLetterError("undecodable", str(error)) from error


def _readable_id(record: ConsumedRecord, readable_id: Callable[[JsonValue], str | None]) -> str | None:
    try:
        return readable_id(_parse(record))
    except DeadLetterError:
        return None


def _id_of_large(record: ConsumedRecord, derived_id: Callable[[JsonValue, ConsumedRecord], str | None]) -> str | None:
    if record.value is None or len(record.value) > MAX_BYTES_READ_FOR_ID:
        return None
    try:
        return derived_id(parse_ijson(record.value), record)
    except UndecodableJsonError:
        return None


def _refusal_of_headers(record: ConsumedRecord) -> str | None:
    """Why the headers that this contract gives a meaning make the record invalid. Others may hold any bytes."""
    for name, value in record.headers:
        if value is None or not (name == "content-type" or name.startswith("ce_")):
            continue
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            return f"header {name}: not UTF-8"
        if name == "content-type" and text.strip().lower().startswith("application/cloudevents"):
            return "header content-type: structured CloudEvents are not read; send ce_* headers and a JSON value"
    return None


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    return {bool: "true or false", int: "a number", float: "a number", str: "a string"}.get(type(value), "an array")
