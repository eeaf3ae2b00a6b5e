"""Jaeger, all in one, spans in memory, for tests: the program that `scripts/fetch_jaeger.sh` caches."""

from __future__ import annotations

import os
from pathlib import Path

import httpx

from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from eldermesh_cli.stack.service import Service, ServiceSpec

JAEGER_VERSION = "1.62.0"

_ANSWER_SECONDS = 5.0

_UNUSED = (
    "collector.otlp.grpc.host-port",
    "collector.grpc-server.host-port",
    "collector.http-server.host-port",
    "query.grpc-server.host-port",
    "admin.http.host-port",
    "http-server.host-port",
    "processor.jaeger-binary.server-host-port",
    "processor.jaeger-compact.server-host-port",
    "processor.zipkin-compact.server-host-port",
)
"""What else it listens to, on all interfaces by default."""


def jaeger_program() -> Path:
    """The program in the cache (`MESH_CACHE_DIR`), whether it exists or not."""
    cache = Path(os.environ.get("MESH_CACHE_DIR") or Path.home() / ".cache" / "eldermesh")
    return cache / f"jaeger-{JAEGER_VERSION}" / "jaeger"


def jaeger_missing() -> str | None:
    """Why Jaeger cannot be started here; None if it can."""
    if not os.access(jaeger_program(), os.X_OK):
        return "no Jaeger: it is not in the cache; run scripts/fetch_jaeger.sh"
    return None


class JaegerServer:
    """One Jaeger: OTLP/HTTP at `otlp_url`, its query API at `query_url`. What it holds is gone when it stops."""

    def __init__(self, data_dir: Path) -> None:
        otlp, query = f"{LOOPBACK}:{free_port()}", f"{LOOPBACK}:{free_port()}"
        self.otlp_url, self.query_url = f"http://{otlp}", f"http://{query}"
        addresses = {"collector.otlp.http.host-port": otlp, "query.http-server.host-port": query}
        addresses |= {name: f"{LOOPBACK}:{free_port()}" for name in _UNUSED}
        self.service = Service(
            ServiceSpec(
                name="jaeger",
                command=(
                    str(jaeger_program()),
                    *(f"--{name}={address}" for name, address in addresses.items()),
                    "--log-level=warn",
                ),
                env={"COLLECTOR_OTLP_ENABLED": "true"},
                inherit_env=False,
                ready=self._answers,
            ),
            log_dir=data_dir / "logs",
        )

    async def start(self) -> None:
        """Start it and wait until it answers."""
        await self.service.bring_up()

    async def _answers(self) -> None:
        try:
            async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
                answer = await client.get(f"{self.query_url}/api/services")
        except httpx.HTTPError as error:
            raise NotReadyError(f"no answer from {self.query_url}: {error!r}") from error
        if answer.status_code != httpx.codes.OK:
            raise NotReadyError(f"{self.query_url} answers {answer.status_code}")
