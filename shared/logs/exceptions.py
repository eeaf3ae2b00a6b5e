"""What logs and spans tell of an exception: its class and its place, and its message only where that quotes no job.

Messages of libraries and plug-ins may quote what they were given: a prompt, a label, a secret.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Iterator

from redis.exceptions import RedisError

from eldermesh.kafka.errors import is_kafka_error
from shared.errors import MeshError

_MAY_BE_QUOTED = (MeshError, OSError, RedisError)
"""Our own messages are written to be read, those of connections name hosts and files."""

_MOST_TOLD = 20


def ends_the_task(error: BaseException) -> bool:
    """Whether an exception is meant for this task or process, and has to be let out by whoever calls code of others.

    All else is a failure of that code: `sys.exit`, a KeyboardInterrupt that it raises itself (the real one goes to the
    signal handler of a running loop), the panic of a library in Rust, the cancellation of a task of its own.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs here
        is_main = threading.current_thread() is threading.main_thread()
        return isinstance(error, GeneratorExit) or (is_main and isinstance(error, KeyboardInterrupt))
    if isinstance(error, asyncio.CancelledError):
        return task is None or task.cancelling() > 0
    return isinstance(error, GeneratorExit)


def place_of(error: BaseException) -> str:
    """Where an exception was raised, as `file:function`. Not its message, which may quote the record."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].name}" if frames else "unknown"


def told(error: BaseException) -> str:
    """One line: `RetryableError: no answer`, or `ValueError at parse.py:read` where the message may quote a job."""
    name = type(error).__name__
    if isinstance(error, _MAY_BE_QUOTED) or is_kafka_error(error):
        message = str(error)
        return f"{name}: {message}" if message else name
    return f"{name} at {place_of(error)}"


def traceback_told(error: BaseException) -> str:
    """The traceback, with those of what caused it, without messages that may quote a job."""
    parts: list[str] = []
    for each in _with_causes(error):
        parts.append("".join(["Traceback (most recent call last):\n", *traceback.format_tb(each.__traceback__)]))
        parts.append(f"{told(each)}\n")
    return "\n".join(parts)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """First what came first, as Python prints it; the parts of a group before the group."""
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(chain) < _MOST_TOLD:
        each = waiting.pop()
        if each is None or any(each is known for known in chain):
            continue
        chain.append(each)
        waiting.append(each.__cause__ or (None if each.__suppress_context__ else each.__context__))
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(each.exceptions)
    return reversed(chain)
