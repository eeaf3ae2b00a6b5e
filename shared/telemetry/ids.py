"""Trace ids: random, or the one a job's id gives, so that a job's trace can be found from its id alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

_given_trace_id: ContextVar[int] = ContextVar("given_trace_id", default=0)


@contextmanager
def root_trace(trace_id_hex: str) -> Iterator[None]:
    """Give root spans that are started inside this trace id; spans with a parent keep their parent's.

    The id that is all zeros is no trace id: under it root spans get a random one.

    Raises:
        ValueError: the text is not 32 hexadecimal digits.
    """
    raw = bytes.fromhex(trace_id_hex)
    if len(raw) != 16:  # noqa: PLR2004 - a trace id has 16 bytes
        raise ValueError(f"{trace_id_hex!r} is no trace id of 32 hexadecimal digits")
    token = _given_trace_id.set(int.from_bytes(raw))
    try:
        yield
    finally:
        _given_trace_id.reset(token)


class JobIdGenerator(RandomIdGenerator):
    """Random ids, except for root spans inside `root_trace`."""

    def generate_trace_id(self) -> int:
        """The given trace id, else a random one."""
        return _given_trace_id.get() or super().generate_trace_id()

    def is_trace_id_random(self) -> bool:
        """Whether the flag `random-trace-id` may be set: a given id promises nothing of the sort."""
        return not _given_trace_id.get()
