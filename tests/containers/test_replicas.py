"""Two of each service: one is killed, paused or cut off, the other goes on; nothing is lost, nothing ends twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.containers.compose_mesh import ComposeMesh
from tests.containers.docker_command import docker
from tests.containers.plain_client import PlainClient

SERVICES = ("router", "sages", "notifier", "claude-exec", "worker-batch", "worker-claude", "ray-worker")
FAULTS = ("killed", "paused", "cut off")

END_SECONDS = 150.0
"""A consumer is missed after 10 s, a lease ends after 15, a chunk that nobody claims is sent again after 60."""


def jobs() -> list[dict[str, Any]]:
    """What runs while it happens: thirteen on Celery, one on Ray, two prompts."""
    roots = {"workload": "python", "items": [1, 4], "options": {"function": "math:sqrt"}}
    on_ray = {**roots, "engine": "ray", "items": [1, 4, 9, 16]}
    prompt = {"workload": "claude", "items": ["[[reply done]]"]}
    return [*[roots] * 13, on_ray, *[prompt] * 2]


def cut_off(container: str) -> dict[str, list[str]]:
    """Disconnect a container from all of its networks; returns what it was called in each."""
    networks: dict[str, Any] = json.loads(
        docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container)
    )
    for network in networks:
        docker("network", "disconnect", network, container)
    return {network: properties["Aliases"] for network, properties in networks.items()}


def connect(container: str, networks: dict[str, list[str]]) -> None:
    """Undo `cut_off`."""
    for network, names in networks.items():
        docker("network", "connect", *[f"--alias={name}" for name in names], network, container)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("service", SERVICES)
async def test_one_of_two(mesh: ComposeMesh, client: PlainClient, service: str, fault: str) -> None:
    """Jobs that are under way then, and jobs that come after it, all complete without it."""
    victim = mesh.containers(service)[0]
    under_way = client.publish(*jobs())
    if fault == "killed":
        docker("kill", victim)
    elif fault == "paused":
        docker("pause", victim)
    else:
        networks = cut_off(victim)
    try:
        later = client.publish(*jobs())
        ends = client.wait_for_ends([*under_way, *later], seconds=END_SECONDS)
    finally:
        if fault == "paused":
            docker("unpause", victim)
        elif fault == "cut off":
            connect(victim, networks)
    assert {end["status"] for end in ends} == {"completed"}
    await mesh.heal(victim)


def test_nothing_is_lost(mesh: ComposeMesh, client: PlainClient) -> None:
    """After all of that each job has one end, and each item one result."""
    audited = mesh.mesh("audit", "--wait", "120")
    assert audited["breaches"] == []
    assert (audited["missing"], audited["differing_ends"]) == (0, 0)
    assert audited["accepted"] == audited["ended"] >= len(client.ends)
