"""Admission on real brokers, fed by a plain client that is not ours: facts for the good, dead letters for the bad."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider

from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.ids import job_id_from_record, trace_id_of
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.records import PublicRecord
from eldermesh_cli.stack.processes.child import OwnedProcess
from shared.facts.jobs import JobAccepted, JobCancelRequested, JobDecided, decode_job_fact
from shared.kafka.topics import JOBS, JOBS_DEAD, JOBS_DECISIONS, JOBS_HISTORY
from shared.settings import Settings
from shared.telemetry import providers
from shared.telemetry.ids import JobIdGenerator
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.inboxes import CODECS, Sent, publish, read_all
from tests.integration.admitting import admitting, facts_of, records_of
from tests.malformed import job, malformed
from tests.waiting import wait_until

JOB_ID = "0190c0de-0000-7000-8000-000000000001"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
async def settings(any_broker: AnyBroker) -> AsyncIterator[Settings]:
    """Topics of their own."""
    async with fresh_topics(*any_broker) as settings:
        yield settings


@pytest.fixture
async def embedded(embedded_broker: str) -> AsyncIterator[Settings]:
    """Topics of their own on the embedded broker, for what does not depend on the broker."""
    async with fresh_topics(embedded_broker, "embedded") as settings:
        yield settings


def numbered(number: int) -> tuple[str, Sent]:
    """A good job with an id of its own."""
    job_id = str(UUID(int=0xC0DE0000 + number))
    return job_id, Sent(job(job_id=job_id, items=[number]), key=b"%d" % (number % 7) if number % 2 else None)


async def test_malformed_records_between_good_ones(settings: Settings) -> None:
    """Over a hundred bad records between good ones: a fact for each good, a dead letter with its reason for each bad.

    The dead letter has the original bytes and coordinates, and lies under the job's id where that can be read.
    """
    bad = list(malformed())
    good = dict(numbered(number) for number in range(len(bad) + 1))
    assert len(bad) >= 100
    mixed = [record for pair in zip(good.values(), (each.sent for each in bad), strict=False) for record in pair]
    # Kafka takes no record above 1 MiB, and its own limits are the broker's business.
    third = len(mixed) // 3
    await publish(settings, JOBS, mixed[:third])
    await publish(settings, JOBS, mixed[third : 2 * third], codec="zstd")
    await publish(settings, JOBS, [*mixed[2 * third :], list(good.values())[-1]], codec="gzip")

    async with admitting(settings) as consumer:
        facts = await facts_of(settings, len(good))
        dead = await records_of(settings, JOBS_DEAD, len(bad))
        assert consumer.is_alive()

    assert Counter(record.key_text() for record, _ in facts) == dict.fromkeys(good, 1)
    for record, fact in facts:
        assert isinstance(fact, JobAccepted)
        assert record.partition == partition_of(record.key or b"", settings.partition_count)
        assert fact.original.encode() == good[record.key_text() or ""].value

    inbox = {(each.partition, each.offset): each for each in await read_all(settings, JOBS)}
    letters = {_where(each): each for each in dead}
    assert len(letters) == len(dead) == len(bad)
    for place, letter in letters.items():
        original = inbox[place]
        about = next(
            each
            for each in bad
            if (each.sent.value, each.sent.key, each.sent.headers) == (original.value, original.key, original.headers)
        )
        provenance = DeadLetterHeaders.decode(letter.headers)
        assert (provenance.topic, provenance.key) == (settings.topic(JOBS), original.key)
        assert (provenance.error_type, about.reason in provenance.reason) == (about.error_type, True), provenance
        assert (letter.value or None) == (original.value or None)
        assert letter.headers[-len(original.headers) or len(letter.headers) :] == tuple(
            (name, value or b"") for name, value in original.headers
        )
        if about.job_id is not None:
            assert letter.key_text() == about.job_id


def _where(letter: PublicRecord) -> tuple[int, int]:
    provenance = DeadLetterHeaders.decode(letter.headers)
    return provenance.partition, provenance.offset


async def test_only_json_and_nothing_else(settings: Settings) -> None:
    """`{"workload": …, "items": …}` and no header, no key, any codec, is a whole job; its id comes from the record."""
    for codec in CODECS:
        await publish(settings, JOBS, [Sent(job(items=[codec]), partition=1)], codec=codec)
    async with admitting(settings):
        facts = await facts_of(settings, len(CODECS))
    ids = {job_id_from_record(JOBS, 1, offset): codec for offset, codec in enumerate(CODECS)}
    assert {record.key_text(): json.loads(fact.original)["items"][0] for record, fact in facts} == ids
    for record, fact in facts:
        assert record.header("ce_subject") == record.key_text()
        assert record.header("traceparent") == fact.traceparent
        assert fact.trace_id == trace_id_of(record.key_text() or "")


async def test_a_record_delivered_again_is_the_same_submit(embedded: Settings) -> None:
    """Two groups read the same record, as after a crash before the commit: same id, content hash and coordinates."""
    await publish(embedded, JOBS, [Sent(job(), timestamp_ms=1)])
    async with admitting(embedded, group="one"):
        await facts_of(embedded, 1)
    async with admitting(embedded, group="two"):
        (one_record, one), (two_record, two) = await facts_of(embedded, 2)
    assert one_record.key == two_record.key
    assert (one.content_hash, one.inbox, one.terms) == (two.content_hash, two.inbox, two.terms)
    assert one.submitted_at > 1


async def test_cancel_and_decide(embedded: Settings) -> None:
    """Each is a fact of the job it names; a decision on the inbox of jobs, where no ACL guards it, is refused."""
    cancel = json.dumps({"job_id": JOB_ID, "reason": "enough"}).encode()
    decide = json.dumps({"job_id": JOB_ID, "decision": "approve", "by": "me"}).encode()
    await publish(embedded, JOBS, [Sent(cancel, headers=(("ce_type", b"eldermesh.job.cancel.v1"),))])
    await publish(embedded, JOBS, [Sent(decide, headers=(("ce_type", b"eldermesh.job.decide.v1"),))])
    await publish(embedded, JOBS_DECISIONS, [Sent(decide)])
    async with admitting(embedded):
        facts = await facts_of(embedded, 2)
        (letter,) = await records_of(embedded, JOBS_DEAD, 1)
    (cancelled,) = [fact for _, fact in facts if isinstance(fact, JobCancelRequested)]
    (decided,) = [fact for _, fact in facts if isinstance(fact, JobDecided)]
    assert {record.key_text() for record, _ in facts} == {letter.key_text()} == {JOB_ID}
    assert {record.partition for record, _ in facts} == {partition_of(JOB_ID, embedded.partition_count)}
    assert cancelled.reason == "enough"
    assert (decided.decision, decided.by, decided.original) == ("approve", "me", decide.decode())
    assert decided.inbox.topic == embedded.topic(JOBS_DECISIONS)
    assert DeadLetterHeaders.decode(letter.headers).topic == embedded.topic(JOBS)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Telemetry that keeps its spans here."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(id_generator=JobIdGenerator())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    providers.install()
    providers.TRACERS.replace(provider)
    yield exporter
    providers.TRACERS.replace(NoOpTracerProvider())


class TestTrace:
    async def test_goes_on_from_the_publisher_to_the_fact(
        self, embedded: Settings, spans: InMemorySpanExporter
    ) -> None:
        """Publisher → process jobs → accept job → the fact's traceparent, with the publisher's trace state."""
        parent = f"00-{TRACE_ID}-00f067aa0ba902b7-01".encode()
        headers = (("traceparent", parent), ("tracestate", b"vendor=1"))
        await publish(embedded, JOBS, [Sent(job(job_id=JOB_ID), headers=headers)])
        async with admitting(embedded):
            ((record, fact),) = await facts_of(embedded, 1)
            process, accept = await _spans(spans, "process jobs", "accept job")
        assert process.parent is not None
        assert f"{process.parent.span_id:016x}" == "00f067aa0ba902b7"
        assert accept.parent is not None
        assert accept.parent.span_id == process.context.span_id
        assert fact.trace_id == TRACE_ID
        assert fact.traceparent.startswith(f"00-{TRACE_ID}-{accept.context.span_id:016x}-")
        assert (fact.tracestate, record.header("tracestate")) == ("vendor=1", "vendor=1")
        assert process.attributes is not None
        assert process.attributes["messaging.destination.name"] == embedded.topic(JOBS)
        assert process.attributes["messaging.kafka.offset"] == 0

    @pytest.mark.parametrize("traceparent", [None, b"00-0-0-00", b"\xff", b"rubbish"])
    async def test_begins_with_the_jobs_id_where_there_is_none(
        self, embedded: Settings, spans: InMemorySpanExporter, traceparent: bytes | None
    ) -> None:
        """Without a valid context, `process jobs` is the root of the trace that the job's id gives."""
        headers = () if traceparent is None else (("traceparent", traceparent),)
        await publish(embedded, JOBS, [Sent(job(job_id=JOB_ID), headers=headers)])
        async with admitting(embedded):
            ((_, fact),) = await facts_of(embedded, 1)
            process, accept = await _spans(spans, "process jobs", "accept job")
        assert process.parent is None
        assert f"{process.context.trace_id:032x}" == fact.trace_id == trace_id_of(JOB_ID)
        assert fact.traceparent.startswith(f"00-{fact.trace_id}-{accept.context.span_id:016x}-")

    async def test_each_record_of_a_batch_has_its_own(self, embedded: Settings, spans: InMemorySpanExporter) -> None:
        """Records of one batch are not in one another's traces; a dead letter's span says why it is one."""
        good = dict(numbered(number) for number in range(20))
        await publish(embedded, JOBS, [*good.values(), Sent(job(job_id=JOB_ID, stream=True))])
        async with admitting(embedded):
            facts = await facts_of(embedded, 20)
            await records_of(embedded, JOBS_DEAD, 1)
            refused = await wait_until(
                lambda: [each for each in spans.get_finished_spans() if not each.status.is_ok and each.attributes],
                description="the span of the dead letter",
            )
        assert {record.key_text(): fact.trace_id for record, fact in facts} == {
            each: trace_id_of(each) for each in good
        }
        assert f"{refused[0].context.trace_id:032x}" == trace_id_of(JOB_ID)
        assert refused[0].attributes is not None
        assert refused[0].attributes["error.type"] == "invalid"


async def _spans(exporter: InMemorySpanExporter, *names: str) -> list[ReadableSpan]:
    def found() -> list[ReadableSpan]:
        by_name = {each.name: each for each in exporter.get_finished_spans()}
        return [by_name[name] for name in names] if by_name.keys() >= set(names) else []

    return await wait_until(found, description=f"spans {names}")


@pytest.mark.slow
async def test_killed_again_and_again_it_loses_nothing(settings: Settings, tmp_path: Path) -> None:
    """SIGKILL in the midst of 3,000 records: every job has its fact, and repeats are of the same record and content.

    Two kills on the embedded broker; one on Kafka, whose groups take 45 s to notice a death.
    """
    good = dict(numbered(number) for number in range(3000))
    await publish(settings, JOBS, good.values())
    environment = dict(os.environ) | settings.environment() | {"MESH_DATA_DIR": str(tmp_path)}
    for kill in range(1, 3 if settings.broker_profile == "embedded" else 2):
        program = OwnedProcess(
            (sys.executable, "-m", "tests.integration.admission_program"),
            log_path=tmp_path / f"{kill}.log",
            env=environment,
        )
        program.start()
        try:
            await records_of(settings, JOBS_HISTORY, kill * 600)
        finally:
            program.kill()
    async with admitting(settings):

        async def all_there() -> list[PublicRecord]:
            records = await read_all(settings, JOBS_HISTORY)
            return records if {each.key_text() for each in records} >= good.keys() else []

        records = await wait_until(all_there, description="every job has a fact", interval_seconds=0.3)
    assert {each.key_text() for each in records} == good.keys()
    submits = {(each.key_text(), _fact(each).content_hash, _fact(each).inbox.coordinates) for each in records}
    assert len(submits) == len(good)
    assert await read_all(settings, JOBS_DEAD) == []


def _fact(record: PublicRecord) -> JobAccepted:
    fact = decode_job_fact(record.header("ce_type") or "", record.value or b"")
    assert isinstance(fact, JobAccepted)
    return fact
