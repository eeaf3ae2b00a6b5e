"""The profile `metrics`: Prometheus in a container takes the metrics of two services, each replica by itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from testcontainers.compose import DockerCompose

from eldermesh_cli.stack.servers.free_ports import free_port
from tests.containers.compose_mesh import ROOT
from tests.containers.docker_command import docker
from tests.waiting import wait_until

_SERVICES = ["prometheus", "sages", "notifier"]
"""Grafana has no stand-in, so the profile is not started as a whole."""

_DATA_SECONDS = 120.0


@pytest.fixture(scope="module")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where Prometheus is, beside two replicas each of sages and notifier."""
    project = f"mesh-metrics-{uuid.uuid4().hex[:8]}"
    ports = {name: free_port() for name in ("KAFKA", "REDIS", "JAEGER", "PROMETHEUS", "GRAFANA")}
    variables = {
        "COMPOSE_PROJECT_NAME": project,
        "COMPOSE_PROFILES": "metrics",
        "MESH_OTLP_METRICS": "true",
        **{f"MESH_{name}_PORT": str(port) for name, port in ports.items()},
    }
    env_file = tmp_path_factory.mktemp("compose") / "compose.env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()), encoding="utf-8")
    compose = DockerCompose(
        context=ROOT,
        compose_file_name=["compose.yaml", "tests/containers/replicas.yaml"],
        env_file=str(env_file),
        services=_SERVICES,
        build=True,
    )
    compose.start()
    try:
        yield f"http://localhost:{ports['PROMETHEUS']}"
    finally:
        compose.services = None  # or what they depend on would stay
        compose.stop()
    label = f"label=com.docker.compose.project={project}"
    assert [docker(*kind, "--quiet", "--filter", label) for kind in (("ps", "--all"), ("volume", "ls"))] == ["", ""]


def _asked(url: str, path: str, **parameters: str) -> Any:
    answer = httpx.get(f"{url}/api/v1/{path}", params=parameters, timeout=10, trust_env=False)
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.json()["data"]


async def test_two_replicas_of_two_services(prometheus_url: str) -> None:
    """Each container has a label of its own."""
    query = "count by (job, host_name) (process_memory_usage_bytes)"

    def containers() -> list[str]:
        return [each["metric"]["job"] for each in _asked(prometheus_url, "query", query=query)["result"]]

    await wait_until(
        lambda: sorted(containers()) == ["eldermesh-notifier"] * 2 + ["eldermesh-sages"] * 2,
        description="two containers of each service have sent metrics",
        timeout_seconds=_DATA_SECONDS,
        interval_seconds=1.0,
    )


async def test_rules_are_evaluated(prometheus_url: str) -> None:
    """All are in order; the router that was not started is missed."""

    def router_is_missed() -> bool:
        alerts = _asked(prometheus_url, "alerts")["alerts"]
        return "MeshRouterAway" in {alert["labels"]["alertname"] for alert in alerts}

    await wait_until(
        router_is_missed, description="the alert is pending", timeout_seconds=_DATA_SECONDS, interval_seconds=1.0
    )
    (group,) = _asked(prometheus_url, "rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}


def test_it_is_as_hardened_as_the_others(prometheus_url: str) -> None:
    """Nobody changes its configuration or stops it over the network."""
    for action in ("reload", "quit"):
        asked = httpx.post(f"{prometheus_url}/-/{action}", timeout=10, trust_env=False)
        assert asked.status_code == httpx.codes.FORBIDDEN
