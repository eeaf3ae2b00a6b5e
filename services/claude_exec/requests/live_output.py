"""The live output of one run: collected for a moment, numbered, published in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from eldermesh.contract.canonical import canonical_bytes
from eldermesh.contract.claude_output import MAX_OUTPUT_BYTES, ClaudeOutput
from eldermesh.contract.cloudevents import CLAUDE_OUTPUT, Headers, binary_headers
from eldermesh.contract.times import format_time
from services.claude_exec.requests.end import EVENT_SOURCE
from services.claude_exec.requests.pieces import Piece, PieceReader
from shared.backoff.patience import with_patience
from shared.history.clock import Clock
from shared.history.fact_appender import FactSink

GATHER_SECONDS = 0.1
"""How long small pieces are collected into one record."""

_MAX_WAITING_BYTES = 256 * 1024
"""Of unpublished pieces; above it the CLI waits until Kafka has taken them."""


@dataclass(frozen=True, slots=True)
class OutputPlace:
    """Where a run's output goes, and to which run it belongs; `topic` is the full name."""

    topic: str
    partition: int
    request_id: str
    attempt: int
    trace_id: str
    traceparent: str | None
    tracestate: str | None


class LiveOutput:
    """Publishes the output of one run.

    Args:
        place: the destination.
        sink: appends a record and awaits its acknowledgement.
        clock: stamps `recorded_at`.
        patience_seconds: how long a record is retried.
    """

    def __init__(self, place: OutputPlace, sink: FactSink, clock: Clock, *, patience_seconds: float) -> None:
        self._place = place
        self._sink = sink
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._reader = PieceReader()
        self._waiting: deque[Piece] = deque()
        self._waiting_bytes = 0
        self._said_bytes = 0
        self._is_full = False
        self._sequence = 0
        self._unsent: tuple[bytes, Headers] | None = None
        self._some = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    @property
    def records(self) -> int:
        """The number of records so far."""
        return self._sequence

    async def take(self, message: Mapping[str, Any]) -> None:
        """Take a message of the CLI.

        Raises:
            RetryableError: Kafka did not take the output.
        """
        for piece in self._reader.take(message):
            self._add(piece)
        if self._waiting_bytes > _MAX_WAITING_BYTES:
            await self.flush()

    async def finish(self) -> None:
        """Publish everything; no more messages follow.

        Raises:
            RetryableError: as `flush`.
        """
        for piece in self._reader.rest():
            self._add(piece)
        await self.flush()

    async def flush(self) -> None:
        """Publish what waits; on return Kafka has acknowledged all of it.

        Raises:
            RetryableError: Kafka did not take a record; it and the following ones are kept.
        """
        async with self._one_at_a_time:
            while self._unsent is not None or self._waiting:
                if self._unsent is None:
                    piece = self._waiting.popleft()
                    self._waiting_bytes -= piece.size
                    self._unsent = self._record(piece)
                value, headers = self._unsent
                append: Callable[[], Any] = partial(
                    self._sink.append,
                    self._place.topic,
                    self._place.partition,
                    key=self._place.request_id,
                    value=value,
                    headers=headers,
                )
                await with_patience(append, seconds=self._patience_seconds, clock=self._clock)
                self._unsent = None
            self._some.clear()

    async def keep_flushing(self) -> None:
        """Publish output regularly while the CLI runs, until this is cancelled.

        Raises:
            RetryableError: Kafka did not take a record.
        """
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER_SECONDS)
            await self.flush()

    def _add(self, piece: Piece) -> None:
        if self._is_full:
            return
        self._said_bytes += piece.size
        if self._said_bytes > MAX_OUTPUT_BYTES:
            self._is_full = True
            piece = Piece("omitted")
        joined = self._waiting[-1].joined(piece) if self._waiting else None
        if joined is not None:
            self._waiting[-1] = joined
        else:
            self._waiting.append(piece)
        self._waiting_bytes += piece.size
        self._some.set()

    def _record(self, piece: Piece) -> tuple[bytes, Headers]:
        self._sequence += 1
        place, now = self._place, self._clock.now_ms()
        output = ClaudeOutput(
            request_id=place.request_id,
            attempt=place.attempt,
            sequence=self._sequence,
            kind=piece.kind,
            text=piece.text,
            tool_use_id=piece.tool_use_id,
            tool_name=piece.tool_name,
            is_error=piece.is_error,
            truncated=piece.truncated,
            recorded_at=format_time(now),
            trace_id=place.trace_id,
        )
        headers = binary_headers(
            event_id=f"{place.request_id}:output:{place.attempt}:{self._sequence}",
            event_type=CLAUDE_OUTPUT,
            source=EVENT_SOURCE,
            subject=place.request_id,
            time_ms=now,
            traceparent=place.traceparent,
            tracestate=place.tracestate,
        )
        return canonical_bytes(output.model_dump(mode="json")), headers
