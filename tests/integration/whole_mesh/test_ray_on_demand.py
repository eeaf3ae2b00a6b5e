"""The Ray head of a whole embedded mesh: it starts with the first job that is routed to it, and the trace goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eldermesh.client import Client
from shared.telemetry import names
from tests.integration.test_path import square_roots
from tests.job_traces import assert_traced, whole_trace
from tests.mesh import RunningMesh
from tests.trace_edges import EDGES

pytestmark = pytest.mark.slow

ITEMS = 120
WAIT_SECONDS = 300.0


def told(mesh: RunningMesh, *arguments: str) -> Any:
    """What `mesh … --json` answers."""
    ended = mesh.run(*arguments, "--json")
    assert ended.returncode == 0, ended
    return json.loads(ended.stdout)


def head_state(mesh: RunningMesh) -> str:
    """The state of the service in `mesh ps`."""
    return str(next(each["state"] for each in told(mesh, "ps")["processes"] if each["name"] == "ray"))


async def test_the_first_large_job_starts_ray_and_is_one_trace(running_mesh: RunningMesh) -> None:
    """`mesh ps` and `mesh doctor` know it before and after; the runner's spans stand where a Celery worker's do."""
    assert head_state(running_mesh) in {"waiting", "running"}  # another test may have needed it
    async with Client(running_mesh.settings.kafka_bootstrap, running_mesh.settings.topic_prefix) as client:
        submitted = await client.submit(square_roots([4.0] * ITEMS))
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
    assert (end.status, end.engine, end.items_succeeded) == ("completed", "ray", ITEMS)
    await whole_trace(running_mesh.settings, submitted.trace_id, EDGES, items_total=ITEMS)
    spans = await assert_traced(running_mesh.settings, end.job_id, submitted.trace_id, EDGES)
    runs = [span for span in spans if span.service_name == "eldermesh-ray-runner"]
    assert {span.name for span in runs} == {"queue wait", "process chunk", "process item"}
    assert {span.attributes[names.ENGINE] for span in runs if span.name == "queue wait"} == {"ray"}
    assert head_state(running_mesh) == "running"
    # Whatever it says of the other parts.
    checks = json.loads(running_mesh.run("doctor", "--json").stdout)["checks"]
    (check,) = [each for each in checks if each["name"] == "ray"]
    assert (check["status"], check["detail"].endswith(" listens")) == ("ok", True)
