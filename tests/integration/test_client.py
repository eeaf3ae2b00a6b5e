"""The client over real brokers; the router's part is played with hand-made records of the contract."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from uuid import UUID, uuid4

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, NoOpTracerProvider, SpanContext, TraceFlags, TracerProvider

from eldermesh.client import (
    Client,
    ClientError,
    ContractBrokenError,
    InvalidJobError,
    JobDeadError,
    MeshUnavailableError,
    RecordTooLargeError,
    TopicsMissingError,
    WaitTimeoutError,
)
from eldermesh.client.topic_reader import read_public_topics
from eldermesh.contract.cloudevents import CANCEL, SUBMIT
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.ids import job_id_from_key, trace_id_of
from eldermesh.contract.ijson import parse_ijson
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.topics import JOBS, JOBS_DONE
from shared.settings import Settings
from shared.telemetry import providers
from shared.telemetry.names import JOB_ID, SEND_JOBS
from shared.telemetry.providers import Current
from tests.contract_records import headers, result
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.played_router import PlayedRouter, played_router
from tests.waiting import wait_until


@pytest.fixture
async def settings(any_broker: AnyBroker) -> AsyncIterator[Settings]:
    """Topics of their own."""
    async with fresh_topics(*any_broker) as settings:
        yield settings


@pytest.fixture
async def router(settings: Settings) -> AsyncIterator[PlayedRouter]:
    """Who answers the client."""
    async with played_router(settings) as router:
        yield router


def _client(settings: Settings) -> Client:
    return Client(settings.kafka_bootstrap, settings.topic_prefix, partitions=settings.partition_count)


async def _inbox(settings: Settings) -> list[PublicRecord]:
    return await read_public_topics(settings.kafka_bootstrap, settings.topic_prefix, names=(JOBS,))


@pytest.fixture
def tracers() -> Iterator[Current[TracerProvider]]:
    """Who makes the spans of this process: nobody, until the test says otherwise."""
    providers.install()
    providers.TRACERS.replace(NoOpTracerProvider())
    yield providers.TRACERS
    providers.TRACERS.replace(NoOpTracerProvider())


@pytest.mark.usefixtures("tracers")
class TestSubmit:
    async def test_is_a_record_of_the_contract(self, settings: Settings) -> None:
        """The inbox holds the fields that were given, nothing else, with CloudEvents headers and a new id."""
        async with _client(settings) as client:
            sent = await client.submit(workload="python", items=[1, "ü", None], options={"function": "math:sqrt"})

        UUID(sent.job_id)
        assert sent.trace_id == trace_id_of(sent.job_id)
        (record,) = await _inbox(settings)
        assert (sent.topic, sent.partition, sent.offset) == (settings.topic(JOBS), record.partition, record.offset)
        assert record.key_text() == sent.job_id
        assert parse_ijson(record.value or b"") == {
            "job_id": sent.job_id,
            "workload": "python",
            "items": [1, "ü", None],
            "options": {"function": "math:sqrt"},
        }
        assert record.header("ce_type") == SUBMIT
        assert record.header("ce_subject") == sent.job_id
        assert record.header("ce_specversion") == "1.0"
        assert record.header("traceparent") is None

    async def test_carries_the_trace(self, settings: Settings) -> None:
        """A trace that is current where `submit` is called goes into the headers and into the answer."""
        context = SpanContext(
            0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, is_remote=False, trace_flags=TraceFlags(1)
        )
        async with _client(settings) as client:
            with trace.use_span(NonRecordingSpan(context)):
                sent = await client.submit(workload="python", items=[1])

        (record,) = await _inbox(settings)
        assert sent.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert (record.header("traceparent") or "").startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")

    async def test_is_a_span(self, settings: Settings, tracers: Current[TracerProvider]) -> None:
        """Where the program traces, the record carries a producer span with the registry's name and attributes."""
        exporter, provider = InMemorySpanExporter(), SdkTracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracers.replace(provider)
        async with _client(settings) as client:
            sent = await client.submit(workload="python", items=[1])

        (record,) = await _inbox(settings)
        (span,) = (each for each in exporter.get_finished_spans() if each.name == SEND_JOBS.name)
        context = span.get_span_context()
        assert context is not None
        assert sent.trace_id == f"{context.trace_id:032x}"
        assert (record.header("traceparent") or "").startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
        assert span.kind is SEND_JOBS.kind
        assert set(span.attributes or {}) == set(SEND_JOBS.attributes)
        assert (span.attributes or {})[JOB_ID] == sent.job_id

    async def test_ids(self, settings: Settings) -> None:
        """A given id stays, an idempotency key gives the contract's vector, two submits without are two jobs."""
        given = str(uuid4())
        async with _client(settings) as client:
            by_id = await client.submit(JobSubmit(workload="python", items=[1], job_id=given))
            by_key = await client.submit(workload="python", items=[1], idempotency_key="nightly-42")
            new = [await client.submit(workload="python", items=[1]) for _ in range(2)]

        assert by_id.job_id == given
        assert by_key.job_id == "4f970e3e-d1a3-5d45-8587-591465c16100"
        assert new[0].job_id != new[1].job_id

    async def test_what_breaks_the_contract_is_not_sent(self, settings: Settings) -> None:
        """Each invalid submit raises, and the inbox stays empty."""
        invalid: list[dict[str, object]] = [
            {"items": [1]},
            {"workload": "python"},
            {"workload": "Python!", "items": [1]},
            {"workload": "python", "items": [1], "unknown": 1},
            {"workload": "python", "items": [float("nan")]},
            {"workload": "python", "items": [2**60]},
            {"workload": "python", "items": ["\ud800"]},
        ]
        async with _client(settings) as client:
            for fields in invalid:
                with pytest.raises(InvalidJobError):
                    await client.submit(**fields)

        assert await _inbox(settings) == []

    async def test_too_large(self, settings: Settings) -> None:
        """Above 256 KiB, headers included, nothing is sent, and the error has the numbers."""
        async with _client(settings) as client:
            with pytest.raises(RecordTooLargeError, match="several jobs") as caught:
                await client.submit(workload="python", items=["x" * (256 * 1024 - 300)])
            await client.submit(workload="python", items=["x" * (256 * 1024 - 500)])

        assert caught.value.limit_bytes == 262_144 < caught.value.size_bytes
        assert len(await _inbox(settings)) == 1

    async def test_cancel(self, settings: Settings) -> None:
        """A cancel is its own event type with the reason; a job id that is none is not sent."""
        job_id = str(uuid4())
        async with _client(settings) as client:
            await client.cancel(job_id, "not needed")
            with pytest.raises(InvalidJobError, match="job_id"):
                await client.cancel("nonsense")

        (record,) = await _inbox(settings)
        assert record.header("ce_type") == CANCEL
        assert parse_ijson(record.value or b"") == {"job_id": job_id, "reason": "not needed"}


class TestWait:
    async def test_own_jobs_many_at_once(self, settings: Settings, router: PlayedRouter) -> None:
        """Fifty jobs are waited for at once; each task gets the end of its own job."""
        async with _client(settings) as client:
            jobs = [await client.submit(workload="python", items=[n]) for n in range(50)]
            waiting = [asyncio.create_task(client.wait(job.job_id, 30)) for job in jobs]
            for job in reversed(jobs):
                await router.end(job.job_id, succeeded=1)
            ends = await asyncio.gather(*waiting)

        assert [end.job_id for end in ends] == [job.job_id for job in jobs]
        assert {end.status for end in ends} == {"completed"}

    async def test_end_that_came_before_the_wait(self, settings: Settings, router: PlayedRouter) -> None:
        """The end is remembered from where the client began, also for a second wait."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1])
            await router.end(job.job_id, status="failed", error_type="exception")
            first, second = await client.wait(job.job_id, 30), await client.wait(job.job_id, 30)

        assert first == second
        assert first.error_type == "exception"

    async def test_job_of_long_ago(self, settings: Settings, router: PlayedRouter) -> None:
        """A client that comes later reads the end of somebody else's job from the topic's start."""
        others = [str(uuid4()) for _ in range(20)]
        for job_id in others:
            await router.end(job_id)

        async with _client(settings) as client:
            ends = await asyncio.gather(*(client.wait(job_id, 30) for job_id in others))

        assert [end.job_id for end in ends] == others

    async def test_foreign_job_that_ends_later(self, settings: Settings, router: PlayedRouter) -> None:
        """Between the past and the followed positions no record is lost."""
        job_id = str(uuid4())
        async with _client(settings) as client:
            waiting = asyncio.create_task(client.wait(job_id, 30))
            await router.end(str(uuid4()))
            await router.end(job_id)
            assert (await waiting).job_id == job_id

    async def test_timeout(self, settings: Settings) -> None:
        """Nothing comes: the outcome is unknown, said after the time given."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1])
            with pytest.raises(WaitTimeoutError, match=job.job_id):
                await client.wait(job.job_id, 0.3)

    async def test_unreadable_end(self, settings: Settings, router: PlayedRouter) -> None:
        """Bytes on jobs.done that are no end break the contract: an error at once, not a wait to the time limit."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1])
            await router.publish(JOBS_DONE, job.job_id, b"{}", headers(f"{job.job_id}:end", SUBMIT, job.job_id))
            with pytest.raises(ContractBrokenError):
                await client.wait(job.job_id, 30)

    async def test_closed_meanwhile(self, settings: Settings) -> None:
        """Whoever waits when the client is closed is told so; afterwards nothing can be asked."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1])
            waiting = asyncio.create_task(client.wait(job.job_id, 30))
            with pytest.raises(WaitTimeoutError):
                await client.wait(job.job_id, 0.2)
        with pytest.raises(ClientError, match="closed"):
            await waiting
        with pytest.raises(ClientError, match="async with"):
            await client.wait(job.job_id, 1)


class TestDeadLetters:
    async def test_refused_submit(self, settings: Settings, router: PlayedRouter) -> None:
        """A dead letter with the coordinates of our submit ends the wait with its type and reason."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1])
            await router.dead(job.job_id, (job.topic, job.partition, job.offset))
            with pytest.raises(JobDeadError) as caught:
                await client.wait(job.job_id, 30)

        assert (caught.value.error_type, caught.value.reason) == ("invalid", "invalid for a test")

    async def test_letters_of_others_under_our_id(self, settings: Settings, router: PlayedRouter) -> None:
        """Another's conflicting submit and a bad cancel leave letters under the id; our job ends undisturbed."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1], job_id=str(uuid4()))
            await router.dead(job.job_id, (job.topic, job.partition, job.offset + 7), "conflict")
            await router.dead(
                job.job_id, (job.topic, job.partition, job.offset + 8), original=[("ce_type", CANCEL.encode())]
            )
            await router.end(job.job_id)
            assert (await client.wait(job.job_id, 30)).status == "completed"

    async def test_conflict_with_a_job_that_has_ended(self, settings: Settings, router: PlayedRouter) -> None:
        """The end under the id is older than our submit: the letter that comes after it decides."""
        job_id = job_id_from_key("default", "again")
        await router.end(job_id)
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[2], idempotency_key="again")
            waiting = asyncio.create_task(client.wait(job_id, 30))
            await router.dead(job_id, (job.topic, job.partition, job.offset), "conflict")
            with pytest.raises(JobDeadError, match="conflict"):
                await waiting

    async def test_repeat_of_a_job_that_has_ended(self, settings: Settings, router: PlayedRouter) -> None:
        """No letter comes within the grace: it was a repeat, and the old end is the answer."""
        job_id = job_id_from_key("default", "once")
        await router.end(job_id, succeeded=3)
        async with _client(settings) as client:
            await client.submit(workload="python", items=[1, 2, 3], idempotency_key="once")
            assert (await client.wait(job_id, 30)).items_succeeded == 3

    @pytest.mark.parametrize("before", [True, False])
    async def test_foreign_job(self, settings: Settings, router: PlayedRouter, before: bool) -> None:  # noqa: FBT001
        """A refused submit of somebody else is dead, whether its letter was there before or comes later."""
        job_id = str(uuid4())
        coordinates = (settings.topic(JOBS), 0, 5)
        if before:
            await router.dead(job_id, coordinates)
        async with _client(settings) as client:
            waiting = asyncio.create_task(client.wait(job_id, 30))
            if not before:
                await router.dead(job_id, coordinates)
            with pytest.raises(JobDeadError):
                await waiting

    async def test_foreign_conflict(self, settings: Settings, router: PlayedRouter) -> None:
        """A conflict means that the id belongs to a job that goes on: its end counts."""
        job_id = str(uuid4())
        await router.dead(job_id, (settings.topic(JOBS), 0, 5), "conflict")
        async with _client(settings) as client:
            waiting = asyncio.create_task(client.wait(job_id, 30))
            await router.end(job_id)
            assert (await waiting).job_id == job_id


class TestResults:
    async def test_progress_in_order_once(self, settings: Settings, router: PlayedRouter) -> None:
        """Repeats and records that run ahead, with another job between: each sequence comes once, in order."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1, 2, 3, 4])
            reading = asyncio.create_task(_sequences(client, job.job_id))
            await router.progress(job.job_id, 1, result(3))
            await router.progress(str(uuid4()), 1, result(0))
            await router.progress(job.job_id, 3, result(0))
            await router.progress(job.job_id, 2, result(1))
            await router.progress(job.job_id, 1, result(3))
            await router.end(job.job_id, succeeded=4, records=4)
            await router.progress(job.job_id, 4, result(2))
            assert await reading == [1, 2, 3, 4]
            assert await _sequences(client, job.job_id, from_sequence=3) == [3, 4]
            assert await _sequences(client, job.job_id, from_sequence=9) == []

    async def test_results_in_order_of_items(self, settings: Settings, router: PlayedRouter) -> None:
        """A foreign job of long ago: its results come in ascending item index, by a client that comes later."""
        job_id = str(uuid4())
        await router.progress(job_id, 1, result(2, "c"), result(0, "a"))
        await router.end(job_id, succeeded=3, records=2)
        await router.progress(job_id, 2, result(1, {"b": [1.5]}))

        async with _client(settings) as client:
            found = [each async for each in client.results(job_id, 30)]

        assert [(each.item_index, each.output) for each in found] == [(0, "a"), (1, {"b": [1.5]}), (2, "c")]

    async def test_results_before_the_end(self, settings: Settings, router: PlayedRouter) -> None:
        """Each comes once those before it are there, although the job runs."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1, 2, 3])
            async with aclosing(client.results(job.job_id, 30)) as results:
                await router.progress(job.job_id, 1, result(2, "c"), result(0, "a"))
                assert (await anext(results)).output == "a"
                await router.progress(job.job_id, 2, result(1, "b"))
                await router.end(job.job_id, succeeded=3, records=2)
                assert [each.output async for each in results] == ["b", "c"]

    async def test_a_slow_reader(self, settings: Settings, router: PlayedRouter) -> None:
        """What the caller takes for a record is no wait for the next one."""
        loop = asyncio.get_running_loop()
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1, 2])
            await router.progress(job.job_id, 1, result(0))
            async with aclosing(client.progress(job.job_id, timeout_seconds=2)) as records:
                assert (await anext(records)).sequence == 1
                read_at = loop.time()
                await wait_until(lambda: loop.time() > read_at + 2, description="the time given is over")
                await router.progress(job.job_id, 2, result(1))
                await router.end(job.job_id, succeeded=2, records=2)
                assert [each.sequence async for each in records] == [2]

    async def test_incomplete_results(self, settings: Settings, router: PlayedRouter) -> None:
        """The end promises two records and one comes: a time-out that says which one is missing."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1, 2])
            await router.progress(job.job_id, 1, result(0))
            await router.end(job.job_id, succeeded=2, records=2)
            with pytest.raises(WaitTimeoutError, match="sequence 2"):
                _ = [each async for each in client.results(job.job_id, 0.5)]

    async def test_results_of_a_dead_job(self, settings: Settings, router: PlayedRouter) -> None:
        """There will be none: the dead letter ends the iteration."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1])
            await router.dead(job.job_id, (job.topic, job.partition, job.offset))
            with pytest.raises(JobDeadError):
                await _sequences(client, job.job_id)

    async def test_leaving_early(self, settings: Settings, router: PlayedRouter) -> None:
        """Whoever stops iterating leaves nothing behind: the client goes on to work."""
        async with _client(settings) as client:
            job = await client.submit(workload="python", items=[1, 2])
            await router.progress(job.job_id, 1, result(0))
            progress = client.progress(job.job_id)
            assert (await anext(progress)).sequence == 1
            await progress.aclose()
            await router.end(job.job_id, succeeded=1, records=1)
            assert (await client.wait(job.job_id, 30)).status == "completed"


class TestConnecting:
    async def test_no_broker(self) -> None:
        """Nobody listens: an error at once, not a hang."""
        with pytest.raises(MeshUnavailableError):
            async with Client("127.0.0.1:1"):
                pass

    async def test_no_mesh_under_the_prefix(self, embedded_broker: str) -> None:
        """The error names the missing topics and does not create them by asking."""
        prefix = f"t{uuid4().hex[:12]}."
        for _ in range(2):
            with pytest.raises(TopicsMissingError, match="mesh topics apply"):
                async with Client(embedded_broker, prefix):
                    pass

    async def test_other_partitions(self, settings: Settings) -> None:
        """A caller that expects another number of partitions talks to another mesh than it thinks."""
        with pytest.raises(ClientError, match="3 partitions, not 12"):
            async with Client(settings.kafka_bootstrap, settings.topic_prefix, partitions=12):
                pass


class TestWaitsThatAreBrokenOff:
    async def test_nothing_stays_open(self, settings: Settings) -> None:
        """Waits cut short at any moment of their start leave no connection behind, which would be a warning here."""
        async with _client(settings) as client:
            for milliseconds in range(0, 24, 2):
                with pytest.raises(WaitTimeoutError):
                    await client.wait(str(uuid4()), milliseconds / 1000)
        gc.collect()


async def _sequences(client: Client, job_id: str, from_sequence: int = 1) -> list[int]:
    return [each.sequence async for each in client.progress(job_id, from_sequence, 30)]


def test_jobs_spread_over_partitions() -> None:
    """Five hundred ids fall on all of four partitions, none of which takes more than half."""
    counts = [0, 0, 0, 0]
    for number in range(500):
        counts[partition_of(job_id_from_key("default", str(number)), 4)] += 1
    assert min(counts) > 0
    assert max(counts) < 250
