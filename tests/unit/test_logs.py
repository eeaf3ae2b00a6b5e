"""Logs as JSON lines: what is in them, and what never is."""

from __future__ import annotations

import importlib
import logging
import warnings

import orjson
import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from shared.logs.privacy import HIDDEN, MAX_ENTRIES, MAX_TEXT
from shared.logs.setup import configure_logging, get_logger, job_logs
from shared.settings import Settings
from shared.telemetry import names
from shared.telemetry.setup import configure_telemetry
from shared.telemetry.spans import span

Lines = list[dict[str, object]]


def _lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [orjson.loads(line) for line in captured.err.splitlines()]


@pytest.mark.usefixtures("logging_as_it_was")
def test_a_line_names_time_level_service_trace_and_job(capsys: pytest.CaptureFixture[str]) -> None:
    """Inside a span and `job_logs` a line carries both ids; outside neither."""
    log = get_logger("services.router.test")  # made before configuration, as modules do
    configure_logging(Settings(log_level="info"), "router")
    configure_telemetry(Settings(otlp_endpoint=None), "router")
    with job_logs("job-1"), span(names.PROCESS_JOBS) as current:
        log.info("record admitted", offset=7)
    log.warning("afterwards")
    log.debug("not shown")
    first, second = _lines(capsys)
    context = current.get_span_context()
    assert str(first.pop("timestamp")).endswith("Z")
    assert first == {
        "level": "info",
        "service": "router",
        "logger": "services.router.test",
        "event": "record admitted",
        "offset": 7,
        "job_id": "job-1",
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
    }
    assert second["event"] == "afterwards"
    assert not {"job_id", "trace_id", "span_id"} & second.keys()


@pytest.mark.usefixtures("logging_as_it_was")
def test_libraries_log_the_same_way_and_less(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard logging comes out as JSON with the ids; what libraries say below a warning does not come out at all."""
    importlib.import_module("faststream")  # gives itself a handler
    configure_logging(Settings(log_level="debug"), "router")
    for name in ("aiokafka.consumer.fetcher", "faststream.kafka", "kombu.connection", "httpx"):
        logging.getLogger(name).info("heartbeat")
        logging.getLogger(name).warning("lost %s", "redis://me:hunter2@host/0")
    with job_logs("job-1"):
        logging.getLogger("celery.worker").info("ready")
    lines = _lines(capsys)
    assert [line["event"] for line in lines] == [f"lost redis://{HIDDEN}@host/0"] * 4 + ["ready"]
    assert lines[-1]["job_id"] == "job-1"


@pytest.mark.usefixtures("logging_as_it_was")
def test_configuring_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    """As in a forked child: one line, with the new service name."""
    configure_logging(Settings(), "one")
    configure_logging(Settings(log_level="warning"), "two")
    get_logger("x").info("not shown")
    get_logger("x").error("shown")
    assert [(line["service"], line["event"]) for line in _lines(capsys)] == [("two", "shown")]


class _Form(BaseModel):
    count: int


@pytest.mark.usefixtures("logging_as_it_was")
def test_secrets_and_payloads_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Hidden by name at any depth, in URLs, headers, API keys and in what a validation quotes; bytes are counted."""
    configure_logging(Settings(), "router")
    log = get_logger("x")
    log.info(
        "Authorization: Bearer hunter2-hunter2 and sk-ant-hunter2-hunter2",
        password="hunter2",
        nested={"api_key": "hunter2", "deep": [{"token": "hunter2"}], "url": "amqp://u:hunter2@h"},
        items=["hunter2"],
        options={"prompt": "hunter2"},
        raw=b"hunter2",
        typed=SecretStr("hunter2"),
    )
    given = {"count": "hunter2"}
    try:
        _Form.model_validate(given)
    except ValidationError as error:
        log.exception("invalid", why=error)
    raw = capsys.readouterr().err
    assert "hunter2" not in raw
    first, second = (orjson.loads(line) for line in raw.splitlines())
    assert first["raw"] == "[7 bytes]"
    assert first["nested"]["url"] == f"amqp://{HIDDEN}@h"
    assert "ValidationError" in second["exception"]


@pytest.mark.usefixtures("logging_as_it_was")
def test_every_value_makes_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What JSON cannot hold, what is too long, too many or too deep: still one valid line each."""
    configure_logging(Settings(), "router")
    circle: dict[str, object] = {}
    circle["again"] = circle
    for value in ("\ud800", 2**70, float("nan"), {1: 2}, {1, 2}, object(), circle, range(3), "x" * 10_000):
        get_logger("x").info("value", it=value)
    get_logger("x").info("many", it=list(range(1_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    *lines, many, warning = _lines(capsys)
    assert len(lines) == 9
    assert len(str(lines[-1]["it"])) < MAX_TEXT + 50
    assert isinstance(many["it"], list)
    assert len(many["it"]) == MAX_ENTRIES + 1
    assert warning["logger"] == "py.warnings"


@pytest.mark.usefixtures("logging_as_it_was")
def test_a_long_traceback_keeps_what_was_raised_last(capsys: pytest.CaptureFixture[str]) -> None:
    """Errors of libraries that were raised while others were handled stand before it, pages of them."""
    configure_logging(Settings(), "router")

    def fail(depth: int) -> None:
        try:
            fail(depth - 1) if depth else int("no number")
        except Exception as error:
            raise ValueError(f"failure {depth}") from error

    try:
        fail(40)
    except ValueError:
        get_logger("x").exception("failed")
    (line,) = _lines(capsys)
    told = str(line["exception"])
    assert MAX_TEXT < len(told) < MAX_TEXT + 50
    assert told.startswith("Traceback")
    assert told.rstrip().splitlines()[-1].startswith("ValueError")


@pytest.mark.usefixtures("logging_as_it_was")
def test_an_unreachable_collector_is_said_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """The exporter complains at each attempt; one line of each kind is enough."""
    configure_logging(Settings(), "router")
    for _ in range(20):
        logging.getLogger("opentelemetry.exporter.x").error("Failed to export")
    assert len(_lines(capsys)) == 1
