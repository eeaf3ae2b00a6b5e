"""Each service's handlers, called by FastStream's test broker: what they make of the records of their topics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from faststream import FastStream
from faststream.kafka import KafkaBroker, TestKafkaBroker

from eldermesh.contract.claude_commands import ClaudeCancel, ClaudeRequest
from eldermesh.contract.cloudevents import CANCEL, CLAUDE_CANCEL, COMPLETED, FAILED, header_text
from eldermesh.contract.commands import JobCancel, JobDecide, JobSubmit
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.times import format_time
from eldermesh.kafka.replacing_producer import OutgoingRecord
from services.claude_exec import app as claude_exec
from services.notifier import app as notifier
from services.router import app as router
from services.sages import app as sages
from shared.facts.jobs import JobAccepted, JobAdvised, JobEnded
from shared.history.clock import SystemClock
from shared.kafka.service_producer import Producer
from shared.settings import Settings
from tests.integration.sages.history import PastJob
from tests.integration.sages.history import accepted as accepted_now
from tests.unit.notifier.events import end

JOB_ID = "4f970e3e-d1a3-5d45-8587-591465c16100"


@pytest.fixture
def settings() -> Settings:
    """With a prefix, so that a topic's name without it would be seen."""
    return Settings(topic_prefix="here.", broker_profile="embedded", _env_file=None)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[OutgoingRecord]:
    """What the services' producers send, acknowledged at once: the test broker has none of its own for them."""
    records: list[OutgoingRecord] = []

    async def send_all(_: Producer, outgoing: Iterable[OutgoingRecord]) -> list[Any]:
        listed = list(outgoing)
        records.extend(listed)
        return [None] * len(listed)

    monkeypatch.setattr(Producer, "send_all", send_all)
    return records


@asynccontextmanager
async def in_memory(app: FastStream) -> AsyncIterator[KafkaBroker]:
    """The application's broker, in memory."""
    broker = app.broker
    assert isinstance(broker, KafkaBroker)
    async with TestKafkaBroker(broker) as played:
        yield played


def told(records: Iterable[OutgoingRecord]) -> list[tuple[str, str | None, bytes | None, int | None]]:
    """Topic, type, key and partition of each."""
    return [
        (record.topic, header_text(tuple(record.headers), "ce_type"), record.key, record.partition)
        for record in records
    ]


async def test_commands_become_facts_of_the_job(settings: Settings, sent: list[OutgoingRecord]) -> None:
    """The router: submits and cancels on one inbox, decisions on another; each keyed by the job."""
    submit = JobSubmit(workload="python", items=[1], options={"function": "math:sqrt"}, idempotency_key="nightly-42")
    async with in_memory(router.make_app(settings)) as broker:
        await broker.publish(submit, "here.jobs")
        await broker.publish(JobCancel(job_id=JOB_ID), "here.jobs", headers={"ce_type": CANCEL})
        await broker.publish(JobDecide(job_id=JOB_ID, decision="approve", by="dana"), "here.jobs.decisions")
    place = (JOB_ID.encode(), partition_of(JOB_ID, settings.partition_count))
    assert told(sent) == [
        ("here.jobs.history", fact_type, *place)
        for fact_type in ("job.accepted", "job.cancel_requested", "job.decided")
    ]


async def test_what_is_no_command_is_a_dead_letter(settings: Settings, sent: list[OutgoingRecord]) -> None:
    """Of the record itself, with the reason; the handler does not fail."""
    async with in_memory(router.make_app(settings)) as broker:
        await broker.publish(b'{"workload": "python", "nonsense": 1}', "here.jobs", key=b"k")
    (letter,) = sent
    assert letter.topic == "here.jobs.dead"
    assert letter.value == b'{"workload": "python", "nonsense": 1}'
    why = DeadLetterHeaders.decode(tuple(letter.headers))
    assert (why.topic, why.error_type) == ("here.jobs", "invalid")
    assert "nonsense: unknown field" in why.reason


async def test_prompts_become_facts_of_the_request(settings: Settings, sent: list[OutgoingRecord]) -> None:
    """`claude_exec`: requests and cancels, each keyed by the request."""
    async with in_memory(claude_exec.make_app(settings)) as broker:
        await broker.publish(ClaudeRequest(prompt="Say hi", request_id=JOB_ID), "here.claude.requests")
        await broker.publish(
            ClaudeCancel(request_id=JOB_ID), "here.claude.requests", headers={"ce_type": CLAUDE_CANCEL}
        )
    place = (JOB_ID.encode(), partition_of(JOB_ID, settings.partition_count))
    assert told(sent) == [
        ("here.claude.history", fact_type, *place) for fact_type in ("claude.accepted", "claude.cancel_requested")
    ]


async def test_an_accepted_job_is_advised_on(settings: Settings, sent: list[OutgoingRecord]) -> None:
    """The sages: an entry of each, though none has started yet; other facts are passed over."""
    fact = accepted_now(JOB_ID, PastJob(), advise_within_ms=60_000)
    async with in_memory(sages.make_app(settings)) as broker:
        for fact_type in (JobEnded.fact_type, JobAccepted.fact_type):
            await broker.publish(
                fact.encode(), "here.jobs.history", key=JOB_ID.encode(), headers={"ce_type": fact_type}
            )
    (record,) = sent
    assert told(sent)[0][:3] == ("here.jobs.history", JobAdvised.fact_type, JOB_ID.encode())
    entries = JobAdvised.model_validate_json(record.value or b"").entries
    assert [(entry.sage, entry.status) for entry in entries] == [
        (name, "warming") for name in ("incident", "knowledge", "rag", "task")
    ]


async def test_an_end_that_a_rule_wants_is_planned(
    settings: Settings, sent: list[OutgoingRecord], tmp_path: Path
) -> None:
    """The notifier: of the job that failed, not of the one that completed."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "channels:\n  terminal: {type: console}\n"
        "rules:\n  - {name: bad, on: end, match: {status: failed}, channels: terminal}\n"
    )
    now = format_time(SystemClock().now_ms())
    app = notifier.make_app(settings.model_copy(update={"notify_rules": rules}))
    async with in_memory(app) as broker:
        for status, event_type in (("completed", COMPLETED), ("failed", FAILED)):
            await broker.publish(end(status=status), "here.jobs.done", headers={"ce_type": event_type, "ce_time": now})
    assert [each[:2] for each in told(sent)] == [("here.notifications", "notification.planned")]
