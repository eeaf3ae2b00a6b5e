"""FastStream's parser and decoder for batches: nothing that a foreign client writes into a header can break them."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any


async def parse_any_headers(batch: tuple[Any, ...], parse: Callable[[Any], Awaitable[Any]]) -> Any:
    """Parse a batch of aiokafka records without their headers, and give the message the whole records back.

    FastStream decodes every header as UTF-8 and drops the *whole batch* if one is not; it also obeys headers such as
    `reply_to`. Headers are read from the raw records, by whoever knows them.
    """
    message = await parse(tuple(dataclasses.replace(record, headers=()) for record in batch))
    message.raw_message = batch
    return message


async def keep_message(message: Any) -> Any:
    """Decode nothing: the handler gets the message itself, and reads each of its raw records on its own."""
    return message
