"""Requests and answers of an item host."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from os import _exit, getpid, write
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from signal import SIG_IGN, SIGINT
from signal import signal as set_handler
from time import clock_gettime, monotonic
from typing import IO, Any

from .border import Border, take_pipes
from .calls import Failure, Host
from .frames import (
    ANSWER,
    BEGAN,
    FAILED,
    HEADER,
    LARGE_BYTES,
    LARGE_RING,
    LOADED,
    OUTCOMES,
    OVER,
    READY,
    RING,
    SUCCEEDED,
)
from .outputs import to_json

_RING_SECONDS = 0.1
"""So long after the last ring, or `LARGE_BYTES` of answers after it, an answer within a slice rings."""

_HELD_UP_SECONDS = 0.05
"""A write that takes longer has held up what runs beside it."""

_LEASE_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC))
"""By which leases end: `shared.history.clock.SystemClock.monotonic`."""

_from_json = json.JSONDecoder().decode


def _read_frame(stream: IO[bytes]) -> bytes | None:
    header = stream.read(HEADER.size)
    return stream.read(HEADER.unpack(header)[0]) if len(header) == HEADER.size else None


class Conversation:
    """Requests and answers; whoever waits for the answers is rung up by the way that requests come."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes], host: Host) -> None:
        self._requests = requests
        self._bell = requests.fileno()
        self._rang_at = 0.0
        self._quiet_bytes = 0
        self._answers = answers
        self._host = host
        self._pid = getpid()
        self._held_up_seconds = 0.0

    def hold(self) -> None:
        """Say that the host has started, then answer request by request until there are no more."""
        self._say(READY, f"{self._pid}".encode())
        while (frame := _read_frame(self._requests)) is not None:
            request = _from_json(frame.decode())
            if request.pop("ask") == "load":
                self._load(**request)
            else:
                self._slice(**request)

    def _load(self, function: str) -> None:
        self._rang_at = 0.0  # a failure rings, too
        failure = self._host.load(function)
        if failure is None:
            self._say(LOADED, position=int(self._host.can_run_at_once(function)))
        else:
            self._say_failed(failure, 0, 0.0, 0.0)

    def _slice(self, function: str, items: list[Any], not_after: float, at_once: int, limit: float | None) -> None:
        self._rang_at, self._quiet_bytes = monotonic(), 0
        if at_once > 1:
            answered = self._at_once(function, items, not_after, at_once, limit)
        else:
            answered = self._one_by_one(function, items, not_after)
        self._say(OVER, f"{getrusage(RUSAGE_SELF).ru_maxrss * 1024}".encode(), answered)

    def _one_by_one(self, function: str, items: list[Any], not_after: float) -> int:
        answered = 0
        for position, item in enumerate(items):
            if clock_gettime(_LEASE_CLOCK) > not_after:
                break
            began = monotonic()
            if position == 0:
                self._say(BEGAN, began=began)
            self._answer(self._host.call(function, item), position, began)
            answered += 1
        return answered

    def _at_once(self, function: str, items: list[Any], not_after: float, at_once: int, limit: float | None) -> int:
        waiting = enumerate(items)
        answered = 0

        async def lane() -> None:
            nonlocal answered
            for position, item in waiting:
                if clock_gettime(_LEASE_CLOCK) > not_after:
                    return
                began = monotonic()
                self._say(BEGAN, position=position, began=began)
                outcome = await self._host.call_beside_others(function, item, limit, lambda: self._held_up_seconds)
                self._answer(outcome, position, began)
                answered += 1

        async def lanes() -> None:
            await asyncio.gather(*(lane() for _ in range(min(at_once, len(items)))))

        if not self._host.run(lanes):
            _exit(1)  # the worker runs those that were running again, one by one
        return answered

    def _answer(self, outcome: bytes | Failure, position: int, began: float) -> None:
        ended = monotonic()
        if isinstance(outcome, bytes):
            self._say(SUCCEEDED, outcome, position, began, ended)
        else:
            self._say_failed(outcome, position, began, ended)

    def _say_failed(self, failure: Failure, position: int, began: float, ended: float) -> None:
        error_type, message = failure
        content = to_json({"error_type": error_type, "error_message": message}).encode()
        self._say(FAILED, content, position, began, ended)

    def _say(self, kind: int, content: bytes = b"", position: int = 0, began: float = 0.0, ended: float = 0.0) -> None:
        if getpid() != self._pid:  # user code has forked, and returned in the child, too: only the parent answers
            _exit(0)
        writing = monotonic()
        is_large = len(content) >= LARGE_BYTES
        if is_large:
            self._ring(LARGE_RING, writing)
        # In one write: a signal handler of user code may raise between two.
        self._answers.write(ANSWER.pack(kind, position, began, ended, len(content)) + content)
        self._answers.flush()
        self._quiet_bytes += ANSWER.size + len(content)
        is_time = writing - self._rang_at >= _RING_SECONDS or self._quiet_bytes >= LARGE_BYTES
        if not is_large and kind != BEGAN and (kind not in OUTCOMES or is_time):
            self._ring(RING, writing)
        if (took := monotonic() - writing) > _HELD_UP_SECONDS:
            self._held_up_seconds += took

    def _ring(self, ring: bytes, now: float) -> None:
        self._rang_at, self._quiet_bytes = now, 0
        write(self._bell, ring)


def serve() -> None:
    """Answer requests until standard input ends."""
    set_handler(SIGINT, SIG_IGN)
    requests, answers = take_pipes()
    sys.path.insert(0, str(Path.cwd()))  # like `python -m`: the user's functions are imported from there
    Conversation(requests, answers, Host(Border())).hold()
