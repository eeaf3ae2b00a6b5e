"""A pytest plug-in: the real servers that tests share for a session. Each test takes topics and keys of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from eldermesh_cli.stack.servers.broker import EmbeddedBroker
from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from tests.fresh_topics import AnyBroker
from tests.jaeger_server import JaegerServer, jaeger_missing
from tests.kafka_server import KafkaServer, kafka_missing
from tests.prometheus_server import PrometheusServer, prometheus_missing

_MARKED = {"apache_kafka": pytest.mark.kafka, "jaeger": pytest.mark.jaeger, "prometheus": pytest.mark.prometheus}


def _start(server: EmbeddedBroker | EmbeddedRedis | KafkaServer | JaegerServer | PrometheusServer) -> None:
    # A loop of its own that is never made the current one: the tests have theirs.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(server.start())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Apache Kafka or Jaeger, so that nobody has to think of it."""
    for item in items:
        for fixture, marker in _MARKED.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.fixture(scope="session")
def server_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers of the session keep data and logs."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def embedded_broker(server_dir: Path) -> Iterator[str]:
    """Address of an embedded broker (Tansu)."""
    broker = EmbeddedBroker(server_dir / "embedded")
    _start(broker)
    yield broker.bootstrap
    broker.service.kill()


@pytest.fixture(scope="session")
def apache_kafka(server_dir: Path) -> Iterator[str]:
    """Address of an Apache Kafka; without a JDK or the jars the test is skipped."""
    missing = kafka_missing()
    if missing is not None:
        pytest.skip(missing)
    kafka = KafkaServer(server_dir / "kafka")
    _start(kafka)
    yield kafka.bootstrap
    kafka.kill()


@pytest.fixture(scope="session")
def redis_server(server_dir: Path) -> Iterator[str]:
    """URL of a Redis (Valkey) that keeps nothing on disk."""
    redis = EmbeddedRedis(server_dir / "redis")
    _start(redis)
    yield redis.url
    redis.service.kill()


@pytest.fixture(scope="session")
def jaeger(server_dir: Path) -> Iterator[JaegerServer]:
    """A Jaeger; where it was not built the test is skipped."""
    missing = jaeger_missing()
    if missing is not None:
        pytest.skip(missing)
    server = JaegerServer(server_dir / "jaeger")
    _start(server)
    yield server
    server.service.kill()


@pytest.fixture(scope="session")
def prometheus(server_dir: Path) -> Iterator[PrometheusServer]:
    """A Prometheus with the project's rules; where it was not built the test is skipped."""
    missing = prometheus_missing()
    if missing is not None:
        pytest.skip(missing)
    server = PrometheusServer(server_dir / "prometheus")
    _start(server)
    yield server
    server.service.kill()


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def any_broker(request: pytest.FixtureRequest) -> AnyBroker:
    """Each of the two brokers in turn."""
    fixture = "embedded_broker" if request.param == "embedded" else "apache_kafka"
    return AnyBroker(request.getfixturevalue(fixture), request.param)
