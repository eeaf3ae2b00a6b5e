"""A stack of one's own from containers: Kafka, Redis, Jaeger and the mesh's own images, driven by a plain Kafka client.

Copy this file into your suite: it needs `testcontainers`, `confluent-kafka` and `httpx`, nothing else of this project.
Its own images have to be there: `docker compose build`. The images' names can be set by environment. Where no image
registry is reached, set `TESTCONTAINERS_RYUK_DISABLED=true`.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, Producer
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import HttpWaitStrategy, LogMessageWaitStrategy

KAFKA_IMAGE = os.environ.get("MESH_KAFKA_IMAGE", "apache/kafka:4.1.0")
REDIS_IMAGE = os.environ.get("MESH_REDIS_IMAGE", "redis:8.0.3")
JAEGER_IMAGE = os.environ.get("MESH_JAEGER_IMAGE", "jaegertracing/all-in-one:1.62.0")
MESH_IMAGE = os.environ.get("MESH_IMAGE", "eldermesh/mesh:0.1.0")
SERVICE_IMAGE = os.environ.get("MESH_SERVICE_IMAGE", "eldermesh/service:0.1.0")

START_SECONDS = 120
END_SECONDS = 120.0
SPANS_SECONDS = 30.0
ASK_AGAIN_SECONDS = 0.2

SETTINGS = {
    "MESH_KAFKA_BOOTSTRAP": "kafka:9092",
    "MESH_REDIS_URL": "redis://redis:6379/0",
    "MESH_OTLP_ENDPOINT": "http://jaeger:4318",
    "MESH_PYTHON_FUNCTIONS": "math:*",
    "MESH_ADVISE_SECONDS": "0",  # no sages run here
    "MESH_SLOTS": "2",
}


@dataclass(frozen=True)
class Stack:
    """Where the stack is reached from this host."""

    bootstrap: str
    jaeger_url: str


def free_port() -> int:
    """Kafka tells its clients where it is, so its port has to be known before it starts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def kafka(network: Network, port: int) -> DockerContainer:
    """One node that is `kafka:9092` inside and `localhost:port` on this host."""
    return (
        DockerContainer(KAFKA_IMAGE, network=network, network_aliases=["kafka"])
        .with_bind_ports(9094, port)
        .with_envs(
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_LISTENERS="INTERNAL://:9092,EXTERNAL://:9094,CONTROLLER://:9093",
            KAFKA_ADVERTISED_LISTENERS=f"INTERNAL://kafka:9092,EXTERNAL://localhost:{port}",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            KAFKA_INTER_BROKER_LISTENER_NAME="INTERNAL",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
            CLUSTER_ID="eldermesh-own-stack-00",
        )
        .waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(START_SECONDS))
    )


def service(network: Network, module: str, ready: str) -> DockerContainer:
    """A service of the mesh; it has started once its log says `ready`."""
    return (
        DockerContainer(SERVICE_IMAGE, network=network, env=SETTINGS, init=True)
        .with_command(["python", "-m", "eldermesh.launch", module])
        .waiting_for(LogMessageWaitStrategy(ready).with_startup_timeout(START_SECONDS))
    )


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Servers, topics, a router and a worker. What was started last is stopped first."""
    with ExitStack() as started:
        network = started.enter_context(Network())
        port = free_port()
        started.enter_context(kafka(network, port))
        started.enter_context(
            DockerContainer(REDIS_IMAGE, network=network, network_aliases=["redis"]).waiting_for(
                LogMessageWaitStrategy("Ready to accept connections")
            )
        )
        jaeger = started.enter_context(
            DockerContainer(JAEGER_IMAGE, network=network, network_aliases=["jaeger"])
            .with_env("COLLECTOR_OTLP_ENABLED", "true")
            .with_exposed_ports(16686)
            .waiting_for(HttpWaitStrategy(16686, "/api/services").with_startup_timeout(START_SECONDS))
        )
        topics = started.enter_context(
            DockerContainer(MESH_IMAGE, network=network, env=SETTINGS).with_command(["mesh", "topics", "apply"])
        )
        assert topics.wait() == 0, topics.get_logs()
        started.enter_context(service(network, "services.router", "router started"))
        started.enter_context(service(network, "services.router.engines.celery.worker", "worker ready"))
        yield Stack(f"localhost:{port}", f"http://localhost:{jaeger.get_exposed_port(16686)}")


def end_of(bootstrap: str, job_id: str) -> dict[str, Any]:
    """The one record on `jobs.done` that says how a job ended."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": job_id, "auto.offset.reset": "earliest"})
    consumer.subscribe(["jobs.done"])
    try:
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None and message.key() == job_id.encode():
                end: dict[str, Any] = json.loads(message.value() or b"")
                return end
    finally:
        consumer.close()
    raise AssertionError(f"job {job_id} did not end within {END_SECONDS:g} s")


def wait_for_spans(jaeger_url: str, trace_id: str, names: set[str]) -> None:
    """Wait until a trace has spans of these names: each service sends its own within seconds after the job's end."""
    missing = names
    deadline = time.monotonic() + SPANS_SECONDS
    while missing:
        assert time.monotonic() < deadline, f"spans that are not in the trace: {missing}"
        answer = httpx.get(f"{jaeger_url}/api/traces/{trace_id}", timeout=10)
        traces = [] if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().json()["data"]
        missing = names - {span["operationName"] for trace in traces for span in trace["spans"]}
        time.sleep(ASK_AGAIN_SECONDS)


def test_a_job(stack: Stack) -> None:
    """A job is published as JSON, ends once, and its trace is in Jaeger."""
    job_id = str(uuid.uuid4())
    job = {"job_id": job_id, "workload": "python", "items": [16, 25], "options": {"function": "math:sqrt"}}
    producer = Producer({"bootstrap.servers": stack.bootstrap})
    producer.produce("jobs", json.dumps(job).encode())
    assert producer.flush(30) == 0

    end = end_of(stack.bootstrap, job_id)
    assert (end["status"], end["items_succeeded"]) == ("completed", 2)

    wait_for_spans(stack.jaeger_url, end["trace_id"], {"accept job", "dispatch chunk", "process chunk"})
