"""What goes between a worker and its item host: requests by a socket, answers by a pipe.

Requests come on standard input, a socket: four bytes of length, big-endian, then JSON. `load` names a function; `slice`
has items for it, and the time after which no item may begin, by a clock that counts the time that the machine sleeps.
Answers leave on standard output: `ANSWER`, a kind, an item's position in its slice, when it began and ended in seconds
of `time.monotonic`, and how many bytes of content follow. Each item's answer leaves before the next item begins, so
that a death leaves no doubt about which ran.

To wake the worker for each answer would cost more than a short item. So the worker reads the pipe when the host rings,
with a byte on the socket: when a request has been answered, and within a slice after some time, or some bytes. It rings
before it writes a large answer, which the pipe may not take until somebody reads.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct(">I")
ANSWER = struct.Struct(">BIddI")

READY = 0
"""The host has started; content: its process id, as text."""
LOADED = 1
"""The function has been imported; position: 1 if it is a coroutine function, whose calls can run at once, else 0."""
SUCCEEDED = 2
"""Content: the output, as I-JSON text."""
FAILED = 3
"""Of an item, or of a load; content: JSON, `error_type` and `error_message`."""
OUTCOMES = frozenset((SUCCEEDED, FAILED))
OVER = 4
"""The slice is over; position: how many of its items have been answered; content: the peak of memory in bytes."""
BEGAN = 5
"""An item has begun: the first of those that run one by one, and each of several that run at once."""

RING = b"!"
"""Something is in the pipe."""
LARGE_RING = b"*"
"""An answer of `LARGE_BYTES` or more comes, perhaps behind others."""
LARGE_BYTES = 32 * 1024

MAX_OUTPUT_BYTES = 64 * 1024 * 1024
"""Longest content of an answer."""
