"""A real mesh, its metrics in a real Prometheus: every query of the dashboards, and alerts that real faults set off."""

from __future__ import annotations

import json
import math
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from shared.telemetry.metric_names import METRICS
from tests.inboxes import Sent, publish
from tests.mesh import RunningMesh, mesh_environment, mesh_up
from tests.prometheus_server import CONFIGURATION, PrometheusServer
from tests.waiting import wait_until

_RULES = """
channels:
  terminal: {{type: console}}
  broken: {{type: webhook, url: "http://{address}/", secret: "${{HOOK_SECRET}}"}}
rules:
  - {{name: good, on: end, match: {{status: [completed]}}, channels: terminal}}
  - {{name: bad, on: end, match: {{status: [failed]}}, channels: broken}}
"""

_DASHBOARDS = CONFIGURATION.parent / "grafana" / "dashboards"
_DATA_SECONDS = 120.0
_ALERT_SECONDS = 300.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mesh(prometheus: PrometheusServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """A mesh that sends its metrics to Prometheus, and whose notifier cannot reach one of its channels."""
    data_dir = tmp_path_factory.mktemp("mesh")
    rules = data_dir / "rules.yaml"
    rules.write_text(_RULES.format(address=f"{LOOPBACK}:{free_port()}"), "utf-8")
    environment = mesh_environment(
        data_dir,
        otlp_metrics_endpoint=prometheus.otlp_url,
        notify_rules=str(rules),
        notify_allow_private="true",
        notify_attempts="1",
    )
    secret = {"HOOK_SECRET": "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    with mesh_up(data_dir, environment | secret) as running:
        yield running


def _work(mesh: RunningMesh) -> None:
    """A job of each kind, and a request."""
    for verb in (
        ("submit", "python", "--function", "math:sqrt", "1", "4", "9"),
        ("submit", "claude", "[[usage input=7 output=5 cache-read=3 cache-write=2]] [[reply done]]"),
        ("ask", "[[reply done]]"),
    ):
        done = mesh.run(*verb, "--wait")
        assert done.returncode == 0, done.stderr


def _service_pid(mesh: RunningMesh, name: str) -> int:
    told: dict[str, Any] = json.loads(mesh.run("ps", "--json").stdout)
    (pid,) = (service["pid"] for service in told["processes"] if service["name"] == name)
    return int(pid)


async def test_every_panel_has_data(mesh: RunningMesh, prometheus: PrometheusServer) -> None:
    """No query of a dashboard is an error, and only what is quiet in a healthy mesh has no data."""
    _work(mesh)

    async def counted() -> bool:
        return bool(await prometheus.values("eldermesh_jobs_ended_total", "eldermesh_job_workload"))

    # Rates are of what is added to a counter that Prometheus knows.
    await wait_until(counted, description="Prometheus has the first jobs", timeout_seconds=_DATA_SECONDS)
    _work(mesh)

    panels = [panel for path in _DASHBOARDS.glob("*.json") for panel in json.loads(path.read_text("utf-8"))["panels"]]
    assert len(panels) > 30

    async def lacking() -> set[str]:
        empty: set[str] = set()
        for panel in panels:
            for target in panel["targets"]:
                values = await prometheus.values(target["expr"].replace("$__rate_interval", "5m"), "instance")
                if all(math.isnan(value) for value in values.values()) and "description" not in panel:
                    empty.add(target["expr"])
        return empty

    async def none_lacks_data() -> bool:
        return not await lacking()

    try:
        await wait_until(none_lacks_data, description="all panels have data", timeout_seconds=_DATA_SECONDS)
    except AssertionError:
        assert await lacking() == set()


async def test_names_are_those_of_the_registry(mesh: RunningMesh, prometheus: PrometheusServer) -> None:
    """What the mesh sends has the names that the registry expects in Prometheus, and a label for each replica."""
    _work(mesh)
    expected = {metric.prometheus_name: metric for metric in METRICS}

    async def arrived() -> bool:
        return bool(await prometheus.values("eldermesh_jobs_ended_total", "job"))

    await wait_until(arrived, description="Prometheus has metrics", timeout_seconds=_DATA_SECONDS)
    found = set(await prometheus.values('{__name__=~"(eldermesh|messaging)_.+"}', "__name__"))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in expected else name for name in found}
    assert families <= set(expected)
    assert len(families) > 20
    assert set(await prometheus.values("eldermesh_jobs_ended_total", "eldermesh_job_workload")) >= {"python", "claude"}
    (told,) = (await prometheus.query('eldermesh_owner_lag{job="eldermesh-router"}'))["data"]["result"][:1]
    assert told["metric"]["host_name"]
    assert told["metric"]["instance"]


async def test_doctor_asks_where_metrics_go(mesh: RunningMesh, prometheus: PrometheusServer) -> None:
    """Prometheus takes an export of nothing; an address that takes none is told."""

    def told(run: RunningMesh) -> dict[str, str]:
        checks = json.loads(run.run("doctor", "--json").stdout)["checks"]
        (found,) = (check for check in checks if check["name"] == "metrics")
        return dict(found)

    found = told(mesh)
    assert (found["status"], found["detail"]) == ("ok", f"{prometheus.otlp_url}/v1/metrics takes metrics")
    wrong = replace(mesh, env={**mesh.env, "MESH_OTLP_METRICS_ENDPOINT": prometheus.url})
    found = told(wrong)
    assert (found["status"], found["detail"]) == ("warn", f"{prometheus.url}/v1/metrics answers 404")


async def test_alerts_of_real_faults(mesh: RunningMesh, prometheus: PrometheusServer) -> None:
    """A record that is no job, a key that is refused, a channel that is away; a router and sages that stand still."""
    _work(mesh)
    assert "MeshDeadLetters" not in await prometheus.firing()
    await publish(mesh.settings, "jobs", [Sent(b"no job")])
    refused = mesh.run("submit", "claude", '[[status 401 message="no such key"]]', "--wait")
    assert refused.returncode != 0
    wanted = {"MeshDeadLetters", "MeshPromptsRefused", "MeshNotificationsFail"}

    async def all_fire(alerts: set[str]) -> bool:
        return alerts <= await prometheus.firing()

    await wait_until(lambda: all_fire(wanted), description=f"{wanted} fire", timeout_seconds=_ALERT_SECONDS)
    assert not {"MeshRouterAway", "MeshServiceGone"} & await prometheus.firing()
    stopped = [_service_pid(mesh, name) for name in ("router", "sages")]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        gone = {"MeshRouterAway", "MeshServiceGone"}
        await wait_until(lambda: all_fire(gone), description=f"{gone} fire", timeout_seconds=_ALERT_SECONDS)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

    async def back() -> bool:
        return not {"MeshRouterAway", "MeshServiceGone"} & await prometheus.firing()

    await wait_until(back, description="both have gone out", timeout_seconds=_ALERT_SECONDS)
