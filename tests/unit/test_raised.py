"""What logs and spans tell of an exception: never a message that may quote a job."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.consumer.alarm import DeadLetterAlarm
from shared.consumer.backoff import BatchTime
from shared.consumer.brake import OwnFailureError
from shared.consumer.handler import Subscription
from shared.consumer.record_processor import RecordProcessor
from shared.errors import RetryableError
from shared.kafka.topics import JOBS
from shared.logs.exceptions import ends_the_task, told
from shared.logs.setup import configure_logging, get_logger
from shared.settings import Settings
from shared.telemetry.spans import failures_told
from tests.unit.consumer.records import consumed

SECRET = "hunter2"


def _of_a_job() -> None:
    """Raise as code of the mesh does that fails on a prompt, with a cause that quotes it, too."""
    try:
        int(SECRET)
    except ValueError as error:
        raise KeyError(f"the prompt {SECRET}") from error


def _caught(error: Exception) -> Exception:
    try:
        raise error  # noqa: TRY301 - this is the place
    except Exception as caught:  # noqa: BLE001 - with its traceback
        return caught


def test_only_messages_of_our_own_and_of_connections_are_told() -> None:
    """Of all others the class and the place."""
    assert told(RetryableError("no answer")) == "RetryableError: no answer"
    assert told(ConnectionRefusedError(111, "refused")) == "ConnectionRefusedError: [Errno 111] refused"
    assert told(_caught(ValueError(SECRET))) == "ValueError at test_raised.py:_caught"


@pytest.mark.usefixtures("logging_as_it_was")
def test_a_log_line_with_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Frames and classes of the whole chain are there, what they were raised with is not."""
    configure_logging(Settings(), "router")
    try:
        _of_a_job()
    except KeyError as error:
        get_logger("x").exception("failed", error=error)
        get_logger("x").error("a group", exc_info=ExceptionGroup("several", [error, RetryableError("no answer")]))
    said = capsys.readouterr().err
    assert SECRET not in said
    for part in ("_of_a_job", "ValueError at", "KeyError at", "ExceptionGroup", "RetryableError: no answer"):
        assert part in said


def _spans() -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def _events(span: ReadableSpan) -> str:
    return f"{span.status.description} {[(event.name, dict(event.attributes or {})) for event in span.events]}"


def test_a_span_that_fails() -> None:
    """It says what and where, and has the traceback."""
    provider, exporter = _spans()
    start = provider.get_tracer("tests").start_as_current_span
    with (
        pytest.raises(KeyError),
        start("x", record_exception=False, set_status_on_exception=False) as current,
        failures_told(current),
    ):
        _of_a_job()
    (span,) = exporter.get_finished_spans()
    said = _events(span)
    assert SECRET not in said
    assert "KeyError at test_raised.py:_of_a_job" in said
    assert "ValueError at" in said


async def test_an_attempt_that_failed() -> None:
    """The span's event names the class and the place, and so does what ends the attempts."""
    provider, exporter = _spans()

    async def fail() -> None:
        _of_a_job()

    nobody = cast("Any", None)  # who judges, handles and takes dead letters is not asked
    processor = RecordProcessor(Subscription(JOBS, "group", nobody), nobody, DeadLetterAlarm(JOBS))
    with provider.get_tracer("tests").start_as_current_span("process jobs"), pytest.raises(OwnFailureError) as raised:
        await processor._retried(consumed(), fail, BatchTime(60.0, asyncio.Event()))  # noqa: SLF001 - what it writes on the span
    (span,) = exporter.get_finished_spans()
    said = _events(span)
    assert SECRET not in said + str(raised.value)
    assert said.count("KeyError at test_raised.py:_of_a_job") == 2


def test_what_ends_a_task_is_told_from_what_code_of_others_raises() -> None:
    """Outside a loop a KeyboardInterrupt of the main thread is real; nothing else but a generator's end is."""
    assert [ends_the_task(error) for error in (KeyboardInterrupt(), GeneratorExit(), SystemExit(3), ValueError())] == [
        True,
        True,
        False,
        False,
    ]


async def test_in_a_task_only_its_own_cancellation_ends_it() -> None:
    """A part that was cancelled, or that interrupts, has failed."""
    assert not any(ends_the_task(error) for error in (KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()))
    seen: list[bool] = []
    waits = asyncio.Event()

    async def wait() -> None:
        waits.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(ends_the_task(error))
            raise

    waiting = asyncio.create_task(wait())
    await waits.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert seen == [True]
