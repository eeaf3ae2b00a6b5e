"""Prometheus with the project's own configuration and rules: the programs that `scripts/fetch_prometheus.sh` caches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx

from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from eldermesh_cli.stack.service import Service, ServiceSpec

PROMETHEUS_VERSION = "3.5.1"
CONFIGURATION = Path(__file__).resolve().parent.parent / "deploy" / "prometheus"

_ANSWER_SECONDS = 5.0


def prometheus_program(name: str = "prometheus") -> Path:
    """A program in the cache (`MESH_CACHE_DIR`), `prometheus` or `promtool`, whether it exists or not."""
    cache = Path(os.environ.get("MESH_CACHE_DIR") or Path.home() / ".cache" / "eldermesh")
    return cache / f"prometheus-{PROMETHEUS_VERSION}" / name


def prometheus_missing() -> str | None:
    """Why Prometheus cannot be started here; None if it can."""
    if not all(os.access(prometheus_program(name), os.X_OK) for name in ("prometheus", "promtool")):
        return "no Prometheus: it is not in the cache; run scripts/fetch_prometheus.sh"
    return None


class PrometheusServer:
    """One Prometheus: metrics are sent to the base address `otlp_url`, its API is at `url`."""

    def __init__(self, data_dir: Path) -> None:
        address = f"{LOOPBACK}:{free_port()}"
        self.url = f"http://{address}"
        self.otlp_url = f"{self.url}/api/v1/otlp"
        self.service = Service(
            ServiceSpec(
                name="prometheus",
                command=(
                    str(prometheus_program()),
                    f"--config.file={CONFIGURATION / 'prometheus.yml'}",
                    f"--storage.tsdb.path={data_dir / 'data'}",
                    f"--web.listen-address={address}",
                    "--web.enable-otlp-receiver",
                    "--log.level=warn",
                ),
                inherit_env=False,
                ready=self._answers,
            ),
            log_dir=data_dir / "logs",
        )

    async def start(self) -> None:
        """Start it and wait until it answers."""
        await self.service.bring_up()

    async def query(self, expression: str) -> dict[str, Any]:
        """The API's answer to an instant query, an error included."""
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
            answer = await client.post(f"{self.url}/api/v1/query", data={"query": expression})
        content: dict[str, Any] = answer.json()
        return content

    async def values(self, expression: str, label: str) -> dict[str, float]:
        """The numbers of a query that has to be right, by one of their labels."""
        answer = await self.query(expression)
        assert answer["status"] == "success", answer
        return {each["metric"].get(label, ""): float(each["value"][1]) for each in answer["data"]["result"]}

    async def firing(self) -> set[str]:
        """The alerts that fire now."""
        return set(await self.values('ALERTS{alertstate="firing"}', "alertname"))

    async def _answers(self) -> None:
        try:
            async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
                answer = await client.get(f"{self.url}/-/ready")
        except httpx.HTTPError as error:
            raise NotReadyError(f"no answer from {self.url}: {error!r}") from error
        if answer.status_code != httpx.codes.OK:
            raise NotReadyError(f"{self.url} answers {answer.status_code}")
