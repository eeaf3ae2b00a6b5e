"""The embedded broker and Redis, and the Apache Kafka of the tests, do what the stack relies on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from eldermesh_cli.stack.errors import NotReadyError, StartFailedError
from eldermesh_cli.stack.servers.broker import EmbeddedBroker, broker_binary, kafka_answers
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from eldermesh_cli.stack.servers.redis import EmbeddedRedis, redis_answers
from tests.kafka_server import KafkaServer, kafka_missing
from tests.waiting import wait_until


async def one_record_goes_round(bootstrap: str) -> None:
    """Create a topic, publish a record, read it."""
    topic = f"{uuid.uuid4()}.round"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=10)
    await producer.start()
    await consumer.start()
    try:
        await producer.send_and_wait(topic, b"value", key=b"key", partition=0)
        async with asyncio.timeout(60):
            record = await consumer.getone()
        assert (record.key, record.value, record.offset) == (b"key", b"value", 0)
    finally:
        await consumer.stop()
        await producer.stop()


async def test_the_shared_embedded_broker_takes_and_gives_records(embedded_broker: str) -> None:
    """The session's embedded broker works with aiokafka."""
    await one_record_goes_round(embedded_broker)


async def test_the_shared_apache_kafka_takes_and_gives_records(apache_kafka: str) -> None:
    """The session's Apache Kafka works with aiokafka."""
    await one_record_goes_round(apache_kafka)


async def test_the_shared_redis_never_evicts(redis_server: str) -> None:
    """The session's Redis answers and refuses to forget."""
    async with Redis.from_url(redis_server) as client:
        assert await client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


async def test_a_broker_starts_again_on_its_port_and_has_forgotten(tmp_path: Path) -> None:
    """Killed and started again it answers at the same address, without the topics it had."""
    broker = EmbeddedBroker(tmp_path)
    await broker.start()
    await one_record_goes_round(broker.bootstrap)
    assert broker.service.pid is not None
    os.kill(broker.service.pid, signal.SIGKILL)
    assert await broker.service.wait() == -signal.SIGKILL
    with pytest.raises(NotReadyError, match="no answer"):
        await kafka_answers(broker.bootstrap)
    await broker.start()
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    assert await admin.list_topics() == []
    await admin.close()
    assert await broker.stop() is False


async def test_a_check_that_is_cancelled_leaves_no_connection() -> None:
    """A broker that takes connections and answers nothing: what asked it is gone, with its connection."""
    connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append((reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        checking = asyncio.create_task(kafka_answers(f"127.0.0.1:{port}"))
        await wait_until(lambda: len(connections) == 2, description="it has connected, and asks")
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking
        for reader, writer in connections:
            await asyncio.wait_for(reader.read(), 60.0)  # to the end of file
            writer.close()
            await writer.wait_closed()


async def test_a_broker_takes_nothing_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that Tansu knows, meant for other programs, change neither its address nor its storage."""
    monkeypatch.setenv("ADVERTISED_LISTENER_URL", "tcp://elsewhere:1")
    monkeypatch.setenv("STORAGE_ENGINE", "s3://elsewhere/")
    monkeypatch.setenv("SCHEMA_REGISTRY", "file:///nowhere")
    broker = EmbeddedBroker(tmp_path)
    await broker.start()
    await one_record_goes_round(broker.bootstrap)
    await broker.stop()


def test_the_broker_is_not_unpacked_into_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped program is used where it lies; without its execution bit a copy in the data directory is."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert broker_binary(tmp_path).is_file()
    monkeypatch.setattr(os, "access", lambda *_: False)
    copied = broker_binary(tmp_path / "data")
    assert copied.parent == tmp_path / "data" / "bin"
    assert copied.stat().st_mode & 0o777 == 0o700
    assert broker_binary(tmp_path / "data") == copied
    assert not (tmp_path / "home").exists()


async def test_a_server_whose_port_is_taken_says_so(tmp_path: Path) -> None:
    """Broker and Redis fail at once, with their own words, when something listens on their port."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartFailedError, match=r"broker did not start: it (.*)(?s:.*)Address in use"):
            await EmbeddedBroker(tmp_path, port=port).start()
        with pytest.raises(StartFailedError, match=r"redis did not start: it exited with status 1(?s:.*)in use"):
            await EmbeddedRedis(tmp_path, port=port).start()


async def test_redis_keeps_what_it_is_told_to_keep(tmp_path: Path) -> None:
    """Append-only: what was acknowledged is there after SIGKILL, as a new process. Otherwise: empty."""
    for append_only in (True, False):
        redis = EmbeddedRedis(tmp_path / str(append_only), append_only=append_only)
        await redis.start()
        async with Redis.from_url(redis.url) as client:
            await client.set("key", "value")
            first_run = (await client.info("server"))["run_id"]
        redis.service.kill()
        await redis.start()
        async with Redis.from_url(redis.url) as client:
            assert await client.get("key") == (b"value" if append_only else None)
            assert (await client.info("server"))["run_id"] != first_run
        assert await redis.stop() is False


async def test_a_redis_that_is_not_there_is_not_ready() -> None:
    """Nothing listens: not ready, without asking again."""
    async with asyncio.timeout(30):
        with pytest.raises(NotReadyError, match="no answer"):
            await redis_answers(f"redis://{LOOPBACK}:{free_port()}/0")


def test_ports_are_outside_of_the_range_for_outgoing_connections() -> None:
    """A port that is handed out cannot be taken by a connection before its server has it."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(1024 < free_port() < first for _ in range(20))


@pytest.mark.kafka
async def test_apache_kafka_keeps_its_log_over_a_kill(tmp_path: Path) -> None:
    """A killed Kafka node, started again, is at the same address and has its topics."""
    missing = kafka_missing()
    if missing is not None:
        pytest.skip(missing)
    kafka = KafkaServer(tmp_path, settings={"log.retention.ms": "100000"})
    await kafka.start()
    try:
        await one_record_goes_round(kafka.bootstrap)
        kafka.kill()
        await kafka.start()
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        topics = await admin.list_topics()
        await admin.close()
        assert [topic for topic in topics if topic.endswith(".round")] != []
        assert await kafka.stop() is False
    finally:
        kafka.kill()
