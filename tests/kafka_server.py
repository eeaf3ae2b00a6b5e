"""Apache Kafka, one node in KRaft mode, for tests: from the jars that `scripts/fetch_kafka.sh` caches."""

from __future__ import annotations

import base64
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from eldermesh_cli.stack.errors import NotReadyError, StackError
from eldermesh_cli.stack.processes.child import OwnedProcess
from eldermesh_cli.stack.servers.broker import kafka_answers
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from eldermesh_cli.stack.service import Service, ServiceSpec

KAFKA_VERSION = "4.1.0"

_FORMAT_SECONDS = 60.0
_JVM_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


def kafka_jars() -> Path:
    """The directory with Kafka's jars in the cache (`MESH_CACHE_DIR`), whether it exists or not."""
    cache = Path(os.environ.get("MESH_CACHE_DIR") or Path.home() / ".cache" / "eldermesh")
    return cache / f"kafka-{KAFKA_VERSION}" / "libs"


def kafka_missing() -> str | None:
    """Why Apache Kafka cannot be started here; None if it can."""
    if shutil.which("java") is None:
        return "no Apache Kafka: there is no `java` (17 or newer)"
    if not (kafka_jars() / f"kafka_2.13-{KAFKA_VERSION}.jar").is_file():
        return "no Apache Kafka: its jars are not in the cache; run scripts/fetch_kafka.sh"
    return None


class KafkaServer:
    """One Kafka node at `bootstrap`; its log survives a stop or a kill, so that it can be started again.

    `settings` are lines of `server.properties` beside those that make a single node work, or in their place.
    `format_arguments` are added when its storage is formatted.
    """

    def __init__(
        self, data_dir: Path, *, settings: dict[str, str] | None = None, format_arguments: Sequence[str] = ()
    ) -> None:
        self._data_dir = data_dir
        self._settings = settings or {}
        self._format_arguments = tuple(format_arguments)
        self.port = free_port()
        self.controller_port = free_port()
        self.bootstrap = f"{LOOPBACK}:{self.port}"
        self._properties = data_dir / "server.properties"
        self.service = Service(
            ServiceSpec(
                name="kafka",
                command=self._java("kafka.Kafka", str(self._properties), heap="512m"),
                ready=self._answers,
                ready_timeout_seconds=90.0,
                stop_grace_seconds=20.0,
            ),
            log_dir=data_dir / "logs",
        )

    async def start(self) -> None:
        """Start it, formatting its storage the first time, and wait until metadata and groups work."""
        if not self._properties.exists():
            await self._format()
        await self.service.bring_up()

    async def stop(self) -> bool:
        """Stop it in order (a second or two); return whether it had to be killed."""
        return await self.service.shut_down()

    def kill(self) -> None:
        """Kill it: what it acknowledged is in the page cache, and there at the next start."""
        self.service.kill()

    def _java(self, main_class: str, *arguments: str, heap: str) -> tuple[str, ...]:
        return ("java", f"-Xmx{heap}", *_JVM_OPTIONS, "-cp", f"{kafka_jars()}/*", main_class, *arguments)

    async def _format(self) -> None:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        unfinished = self._properties.with_suffix(".new")
        properties = self._node_properties() | self._settings
        unfinished.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), encoding="utf-8")
        # The id may begin with a dash.
        arguments = ("format", f"--cluster-id={cluster_id}", "-c", str(unfinished), *self._format_arguments)
        run = OwnedProcess(
            self._java("kafka.tools.StorageTool", *arguments, heap="128m"),
            log_path=self._data_dir / "logs" / "format.log",
        )
        run.start()
        if not await run.ended_within(_FORMAT_SECONDS) or run.poll() != 0:
            raise StackError(f"Kafka's storage could not be formatted: {run.log_path.read_text(encoding='utf-8')}")
        unfinished.rename(self._properties)

    def _node_properties(self) -> dict[str, str]:
        listener, controller = f"PLAINTEXT://{self.bootstrap}", f"CONTROLLER://{LOOPBACK}:{self.controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{LOOPBACK}:{self.controller_port}",
            "listeners": f"{listener},{controller}",
            "advertised.listeners": listener,
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "3000",  # so long a node that was killed waits for itself to be declared dead
            "log.dirs": str(self._data_dir / "kafka"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
        }

    async def _answers(self) -> None:
        """Metadata and a group coordinator: the first group asked for makes Kafka create the topic of offsets."""
        await kafka_answers(self.bootstrap)
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5_000)
        try:
            await admin.start()
            await admin.find_coordinator("readiness")
        except KafkaError as error:
            raise NotReadyError(f"no group coordinator: {error!r}") from error
        finally:
            await admin.close()
