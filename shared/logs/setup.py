"""Logs: JSON lines on standard error, each with service, trace and job; the libraries' logs come out the same way.

No line holds a secret or what people submitted: values are hidden by their names, long ones cut, bytes only counted.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import IO, cast

import orjson
import structlog
from opentelemetry import trace
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from shared.logs.exceptions import traceback_told
from shared.logs.privacy import hide_private
from shared.settings import Settings

_QUIET: Mapping[str, int] = {
    "aiokafka": logging.WARNING,
    "amqp": logging.WARNING,
    "asyncio": logging.WARNING,
    "celery": logging.INFO,
    "celery.app.trace": logging.WARNING,
    "celery.worker.strategy": logging.WARNING,
    "claude_agent_sdk": logging.CRITICAL,  # its errors are outcomes of prompts, told as such
    "faststream": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "kombu": logging.WARNING,
    "opentelemetry": logging.WARNING,
    "redis": logging.WARNING,
    "urllib3": logging.ERROR,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.WARNING,
}
"""The least level of libraries that say too much; a stricter level in the settings wins."""

_REPEATING = ("opentelemetry.",)
_REPEAT_SECONDS = 60.0


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger: `log.info("chunk claimed", chunk=…)`. May be made before logging is configured."""
    return cast("FilteringBoundLogger", structlog.stdlib.get_logger(name))


def job_logs(job_id: str) -> AbstractContextManager[None]:
    """Inside, every line of this task or thread carries the job's id."""
    return structlog.contextvars.bound_contextvars(job_id=job_id)


def configure_logging(settings: Settings, service_name: str) -> None:
    """Send all logs of this process to standard error as JSON lines, from the settings' level up.

    May be called again, as in a forked child. A library that sets up logging itself (Celery does) must be told not to.
    """

    def add_service(_logger: object, _method: str, event: EventDict) -> EventDict:
        event["service"] = service_name
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _add_span,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = _StandardErrorHandler()
    handler.addFilter(_OncePerMinute())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.ExceptionRenderer(lambda raised: traceback_told(raised[1])),
                hide_private,
                _render,
            ],
        )
    )
    root = logging.getLogger()
    for former in root.handlers[:]:
        if isinstance(former, _StandardErrorHandler):
            root.removeHandler(former)
    root.addHandler(handler)
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    root.setLevel(level)
    for name, least in _QUIET.items():
        library = logging.getLogger(name)
        library.setLevel(max(level, least))
        # FastStream, imported, has given itself a handler, and writes past ours.
        library.handlers.clear()
        library.propagate = True
    logging.captureWarnings(capture=True)


class _StandardErrorHandler(logging.StreamHandler[IO[str]]):
    """Writes to what `sys.stderr` is at the moment of writing."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> IO[str]:  # type: ignore[override]
        return sys.stderr


class _OncePerMinute(logging.Filter):
    """Lets through one line a minute of a place that repeats itself while a collector cannot be reached."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_REPEATING):
            return True
        now, place = time.monotonic(), (record.name, record.lineno)
        if now - self._last.get(place, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return False
        self._last[place] = now
        return True


def _add_span(_logger: object, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _render(_logger: object, _method: str, event: EventDict) -> str:
    first = {name: event.pop(name) for name in ("timestamp", "level", "service", "logger", "event") if name in event}
    return orjson.dumps({**first, **event}, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
