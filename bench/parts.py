"""The real parts that benchmarks run on: a broker, a Redis, the receiver of telemetry, topics of one run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import SecretStr

from eldermesh_cli.stack.embedded_mesh import embedded_mesh
from eldermesh_cli.stack.servers.broker import EmbeddedBroker
from eldermesh_cli.stack.servers.mesh_services import (
    TELEMETRY_NAME,
    notifier_service,
    router_service,
    sages_service,
    worker_service,
)
from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from eldermesh_cli.stack.service import Service, ServiceSpec
from shared.kafka.clients import make_consumer
from shared.settings import Settings
from tests.fresh_topics import Profile, fresh_topics
from tests.kafka_server import KafkaServer

_SLOTS = 2


@asynccontextmanager
async def parts(profile: Profile, directory: Path, **overrides: Any) -> AsyncIterator[Settings]:
    """Settings of a broker, a Redis and a receiver of telemetry that run, with topics of their own."""
    async with AsyncExitStack() as stack:
        broker = KafkaServer(directory / "broker") if profile == "kafka" else EmbeddedBroker(directory / "broker")
        await broker.start()
        stack.push_async_callback(broker.stop)
        redis = EmbeddedRedis(directory / "redis")
        await redis.start()
        stack.push_async_callback(redis.stop)
        endpoint = await stack.enter_async_context(_receiver(directory / "telemetry"))
        values: dict[str, Any] = {
            "partitions": None,
            "redis_url": SecretStr(redis.url),
            "data_dir": directory,
            "otlp_endpoint": endpoint,
            "slots": _SLOTS,
        }
        yield await stack.enter_async_context(fresh_topics(broker.bootstrap, profile, **(values | overrides)))


@asynccontextmanager
async def _receiver(directory: Path) -> AsyncIterator[str]:
    """The receiver of `mesh up`, as a process; yields its address."""
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    mesh = embedded_mesh(Settings(data_dir=directory))
    spec = next(each for each in mesh.services if each.name == TELEMETRY_NAME)
    async with running(directory, spec):
        yield mesh.addresses.otlp_endpoint or ""


@asynccontextmanager
async def running(directory: Path, *specs: ServiceSpec) -> AsyncIterator[list[Service]]:
    """Services that run, whatever they depend on; started in this order, stopped in the other."""
    async with AsyncExitStack() as stack:
        services = [Service(replace(spec, depends_on=()), log_dir=directory / "logs") for spec in specs]
        for service in services:
            await service.bring_up()
            stack.push_async_callback(service.shut_down)
        yield services


@asynccontextmanager
async def mesh_running(directory: Path, settings: Settings) -> AsyncIterator[dict[str, Service]]:
    """The services of a mesh, by name."""
    specs = (
        router_service(settings),
        worker_service(settings),
        sages_service(settings),
        notifier_service(settings),
    )
    async with running(directory, *specs) as services:
        yield {spec.name: service for spec, service in zip(specs, services, strict=True)}


@asynccontextmanager
async def following(settings: Settings, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of what comes to a topic (its name without prefix) from now on."""
    consumer = make_consumer(settings)
    consumer.assign([TopicPartition(settings.topic(topic), number) for number in range(settings.partition_count)])
    try:
        await consumer.start()
        await consumer.seek_to_end()
        yield consumer
    finally:
        await consumer.stop()
