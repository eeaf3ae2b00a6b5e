"""The way of one job, on real parts, over both brokers: one class, so that neither can hide a difference."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from eldermesh.client import Client, JobDeadError
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.ids import job_id_from_key
from shared.kafka.topics import JOBS, JOBS_DEAD
from tests.fresh_topics import Profile
from tests.inboxes import Sent, publish, read_all
from tests.malformed import malformed
from tests.mesh_services import MeshServices, mesh_services
from tests.public_topics import assert_invariants
from tests.waiting import wait_until

WAIT_SECONDS = 300.0


def square_roots(items: list[float], **fields: object) -> JobSubmit:
    """A job of square roots."""
    return JobSubmit.model_validate(
        {"workload": "python", "items": items, "options": {"function": "math:sqrt"}} | fields
    )


def shared_mesh(bootstrap: str, profile: Profile, directory: Path) -> Iterator[MeshServices]:
    """A mesh for a whole class of tests."""
    running = mesh_services(bootstrap, profile, directory, python_functions="math:*,time:sleep")
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        mesh = runner.run(running.__aenter__())
        try:
            yield mesh
        finally:
            runner.run(running.__aexit__(None, None, None))


class PathContract:
    """What must hold on every broker. Subclasses give the broker; the mesh is shared by the class's tests."""

    @pytest.fixture
    async def client(self, mesh: MeshServices) -> AsyncIterator[Client]:
        """A client of the mesh."""
        async with Client(mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix) as client:
            yield client

    async def test_a_job_of_ninety_items_ends_with_all_results(self, client: Client) -> None:
        """Every item's result arrives once, in `results` in ascending order, and the end adds up."""
        submitted = await client.submit(square_roots([float(n * n) for n in range(90)]))
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
        assert (end.status, end.items_total, end.items_succeeded, end.engine) == ("completed", 90, 90, "celery")
        results = [result async for result in client.results(submitted.job_id)]
        assert [result.item_index for result in results] == list(range(90))
        assert [result.output for result in results] == [float(n) for n in range(90)]

    async def test_plain_json_of_another_client_is_a_job(self, mesh: MeshServices, client: Client) -> None:
        """librdkafka, with zstd and nothing but JSON: no key, no headers."""
        settings = mesh.settings
        job_id = str(uuid4())
        producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "compression.type": "zstd"})
        value = square_roots([4.0], job_id=job_id).model_dump_json(exclude_defaults=True)
        producer.produce(settings.topic("jobs"), value=value.encode())
        assert await asyncio.to_thread(producer.flush, 15.0) == 0
        end = await client.wait(job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", 1)

    async def test_one_key_sent_twice_at_once_is_one_job(self, mesh: MeshServices, client: Client) -> None:
        """Two clients, two partitions, the same idempotency key and content: one end; then a conflict is dead."""
        settings = mesh.settings
        key = f"nightly-{uuid4()}"
        value = json.dumps(
            {"workload": "python", "items": [9], "options": {"function": "math:sqrt"}, "idempotency_key": key}
        ).encode()
        producers = [Producer({"bootstrap.servers": settings.kafka_bootstrap}) for _ in range(2)]
        for partition, producer in enumerate(producers):
            producer.produce(settings.topic("jobs"), value=value, partition=partition)
        for producer in producers:
            assert await asyncio.to_thread(producer.flush, 15.0) == 0
        job_id = job_id_from_key("default", key)
        end = await client.wait(job_id, WAIT_SECONDS)
        assert (end.status, end.items_total) == ("completed", 1)
        other = square_roots([16.0], idempotency_key=key)
        with pytest.raises(JobDeadError) as dead:
            await client.wait((await client.submit(other)).job_id, WAIT_SECONDS)
        assert dead.value.error_type == "conflict"
        await assert_invariants(settings.kafka_bootstrap, settings.topic_prefix)

    async def test_too_many_failed_items_fail_the_job(self, client: Client) -> None:
        """`max_failed_items` at its limit and above it."""
        allowed = await client.submit(square_roots([1.0, -1.0, 4.0], max_failed_items=1))
        refused = await client.submit(square_roots([1.0, -1.0, 4.0, -4.0], max_failed_items=1))
        end = await client.wait(allowed.job_id, WAIT_SECONDS)
        assert (end.status, end.items_failed, end.items_not_run) == ("completed", 1, 0)
        end = await client.wait(refused.job_id, WAIT_SECONDS)
        assert (end.status, end.error_type, end.items_failed) == ("failed", "too_many_failures", 2)

    async def test_cancel_before_submit_and_while_running(self, client: Client) -> None:
        """A cancel that overtakes its submit ends the job at once; one of a running job stops it."""
        early = str(uuid4())
        await client.cancel(early, "not needed")
        late = await client.submit(JobSubmit(workload="python", items=[30.0] * 20, options={"function": "time:sleep"}))
        await client.cancel(late.job_id, "enough")
        end = await client.wait(late.job_id, WAIT_SECONDS)
        assert (end.status, end.reason) == ("cancelled", "enough")
        submitted = await client.submit(square_roots([1.0], job_id=early))
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
        assert (end.status, end.items_not_run) == ("cancelled", 1)

    async def test_limits_of_time(self, mesh: MeshServices, client: Client) -> None:
        """Of an item, of the job's active time, and of its whole time."""
        sleep = {"workload": "python", "options": {"function": "time:sleep"}}
        item = await client.submit(JobSubmit.model_validate(sleep | {"items": [60], "item_timeout_seconds": 0.5}))
        active = await client.submit(JobSubmit.model_validate(sleep | {"items": [60], "active_timeout_seconds": 1}))
        whole = await client.submit(JobSubmit.model_validate(sleep | {"items": [60], "expires_after_seconds": 1}))
        ends = [await client.wait(job.job_id, WAIT_SECONDS) for job in (item, active, whole)]
        assert [end.error_type for end in ends] == ["too_many_failures", "timeout", "expired"]
        results = [result async for result in client.results(item.job_id)]
        assert [result.error_type for result in results] == ["timeout"]
        await assert_invariants(mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix)

    async def test_malformed_records_between_good_jobs(self, mesh: MeshServices, client: Client) -> None:
        """A hundred bad records among good ones, some compressed: the good ones end, each bad one is a dead letter."""
        settings = mesh.settings
        dead_before = len(await read_all(settings, JOBS_DEAD))
        bad = list(malformed())
        assert len(bad) >= 100
        good = [str(uuid4()) for _ in range(20)]
        mixed: list[Sent] = []
        for index, one in enumerate(bad):
            mixed.append(one.sent)
            if index < len(good):
                submit = square_roots([4.0], job_id=good[index])
                mixed.append(Sent(submit.model_dump_json(exclude_defaults=True).encode()))
        half = len(mixed) // 2
        await publish(settings, JOBS, mixed[:half])
        await publish(settings, JOBS, mixed[half:], codec="zstd")
        for job_id in good:
            assert (await client.wait(job_id, WAIT_SECONDS)).status == "completed"

        async def all_dead() -> bool:
            return len(await read_all(settings, JOBS_DEAD)) >= dead_before + len(bad)

        await wait_until(all_dead, description="each malformed record is a dead letter")
        await assert_invariants(settings.kafka_bootstrap, settings.topic_prefix)


class TestEmbedded(PathContract):
    """On the embedded broker."""

    @pytest.fixture(scope="class")
    @classmethod
    def mesh(cls, embedded_broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshServices]:
        """A mesh on it."""
        yield from shared_mesh(embedded_broker, "embedded", tmp_path_factory.mktemp("mesh"))


class TestApacheKafka(PathContract):
    """On Apache Kafka."""

    @pytest.fixture(scope="class")
    @classmethod
    def mesh(cls, apache_kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshServices]:
        """A mesh on it."""
        yield from shared_mesh(apache_kafka, "kafka", tmp_path_factory.mktemp("mesh"))
