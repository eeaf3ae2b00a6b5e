"""A poison record of each kind among 200 good ones, on every inbox: all the good ones are done, each poison is told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eldermesh.contract.cloudevents import DECIDE
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.records import PublicRecord
from services.claude_exec.requests.admission import RequestAdmission
from services.router.admission.commands import JobAdmission
from services.sages import curated_notes, passage_index
from services.sages.memory.table import Memory
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.documents import Document, Note, Passage
from shared.kafka.clients import make_producer
from shared.kafka.topics import (
    CLAUDE_HISTORY,
    CLAUDE_REQUESTS,
    JOBS,
    JOBS_DEAD,
    JOBS_DECISIONS,
    JOBS_HISTORY,
    SAGES_DOCUMENTS,
    SAGES_NOTES,
)
from shared.settings import Settings
from shared.workloads import WorkloadRegistry
from tests.fresh_topics import fresh_topics
from tests.inboxes import Sent, publish, read_all
from tests.malformed import job, malformed
from tests.poison import DECISIONS, DOCUMENTS, OPTIONS
from tests.waiting import wait_until

GOOD = 200


@pytest.fixture
async def settings(embedded_broker: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Topics of this test."""
    async with fresh_topics(embedded_broker, "embedded", data_dir=tmp_path) as settings:
        yield settings


@asynccontextmanager
async def _consuming(settings: Settings, topic: str) -> AsyncIterator[InboxConsumer]:
    """The admission of an inbox."""
    producer = make_producer(settings)
    await producer.start()
    handler: JobAdmission | RequestAdmission = (
        RequestAdmission(settings, producer)
        if topic == CLAUDE_REQUESTS
        else JobAdmission(settings, producer, WorkloadRegistry.installed())
    )
    consumer = InboxConsumer(settings, [Subscription(topic, "tests.poison", handler)], producer)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
        await producer.stop()


def id_of(number: int) -> str:
    """The id of a job or prompt of these tests."""
    return str(UUID(int=0xBAD0000 + number))


def job_records() -> tuple[list[Sent], list[Sent]]:
    """Good ones and poison for `jobs`."""
    poison = [each.sent for each in malformed()]
    poison += [
        Sent(job(job_id=id_of(1000 + number), workload="claude", items=["hi"], options=options))
        for number, options in enumerate(OPTIONS.values())
    ]
    return [Sent(job(job_id=id_of(number))) for number in range(GOOD)], poison


def _decisions() -> tuple[list[Sent], list[Sent]]:
    headers = (("ce_type", DECIDE.encode()),)
    good = [{"job_id": id_of(number), "decision": "approve", "by": "me"} for number in range(GOOD)]
    return (
        [Sent(json.dumps(each).encode(), headers=headers) for each in good],
        [Sent(each, headers=headers) for each in DECISIONS],
    )


def request_records() -> tuple[list[Sent], list[Sent]]:
    """Good ones and poison for `claude.requests`."""

    def request(number: int, **fields: Any) -> Sent:
        return Sent(json.dumps({"request_id": id_of(number), "prompt": "hi"} | fields).encode())

    poison = [request(1000 + number, options=options) for number, options in enumerate(OPTIONS.values())]
    return [request(number) for number in range(GOOD)], poison


def mix(good: list[Sent], poison: list[Sent]) -> list[Sent]:
    """The poison spread over the good ones."""
    every = max(1, len(good) // len(poison))
    mixed: list[Sent] = []
    for number in range(max(len(good), len(poison) * every)):
        mixed += good[number : number + 1]
        if number % every == 0:
            mixed += poison[number // every : number // every + 1]
    assert len(mixed) == len(good) + len(poison)
    return mixed


@pytest.mark.parametrize(
    ("topic", "history", "records"),
    [
        (JOBS, JOBS_HISTORY, job_records),
        (JOBS_DECISIONS, JOBS_HISTORY, _decisions),
        (CLAUDE_REQUESTS, CLAUDE_HISTORY, request_records),
    ],
)
async def test_commands(settings: Settings, topic: str, history: str, records: Any) -> None:
    """Each good one is a fact, once; each poison one dead letter, at its place and of the sender's making."""
    good, poison = records()
    await publish(settings, topic, mix(good, poison))
    async with _consuming(settings, topic) as consumer:
        facts = await wait_until(
            lambda: _at_least(settings, history, GOOD), description="the good ones are facts", timeout_seconds=120
        )
        letters = await wait_until(
            lambda: _at_least(settings, JOBS_DEAD, len(poison)),
            description="each poison is a dead letter",
            timeout_seconds=120,
        )
        assert consumer.is_alive()
    assert Counter(fact.key_text() for fact in facts) == {id_of(number): 1 for number in range(GOOD)}
    told = [DeadLetterHeaders.decode(letter.headers) for letter in letters]
    assert len({(each.partition, each.offset) for each in told}) == len(told) == len(poison)
    assert {each.error_type for each in told} <= {"invalid", "undecodable", "too_large"}
    assert {each.topic for each in told} == {settings.topic(topic)}


@pytest.mark.parametrize("topic", [SAGES_NOTES, SAGES_DOCUMENTS])
async def test_what_sages_read(settings: Settings, topic: str) -> None:
    """The good ones are known, each poison is counted, and the memory catches up all the same."""
    module: Any
    if topic == SAGES_NOTES:
        module, count = curated_notes, "SELECT count(*) FROM notes"
        values = [Note(note_id=id_of(n), text=f"note {n}", added_at=n).encode() for n in range(GOOD)]
        version = 1
    else:
        module, count = passage_index, "SELECT count(*) FROM passages"
        values = [
            Document(
                collection="c",
                path=f"{n}.md",
                content_hash="h",
                indexed_at=n,
                passages=(Passage(title="t", first_line=1, last_line=1, text=f"passage {n}"),),
            ).encode()
            for n in range(GOOD)
        ]
        version = passage_index.SCHEMA_VERSION
    good = [Sent(value, key=id_of(number).encode()) for number, value in enumerate(values)]
    poison = [Sent(value, key=key) for key, value in DOCUMENTS]
    await publish(settings, topic, mix(good, poison))
    memory = Memory(settings, "poisoned", [topic], module.SCHEMA_SQL, version, module.apply, prune=module.prune)
    await memory.start()
    try:
        await wait_until(lambda: not memory.is_warming, description="the memory has caught up", timeout_seconds=60)
        (known,) = await memory.query(lambda connection: connection.execute(count).fetchone())
    finally:
        await memory.close()
    assert (known, memory.skipped) == (GOOD, len(poison))


async def _at_least(settings: Settings, topic: str, count: int) -> list[PublicRecord]:
    records = await read_all(settings, topic)
    return records if len(records) >= count else []
