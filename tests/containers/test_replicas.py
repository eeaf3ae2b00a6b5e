"""Two of each service: one is killed, paused or cut off, the other goes on; nothing is lost, nothing ends twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.containers.compose_mesh import ComposeMesh
from tests.containers.docker_command import docker
from tests.containers.plain_client import PlainClient

SERVICES = ("router", "sages", "notifier", "claude-exec", "worker-batch", "worker-claude", "ray-worker")

END_SECONDS = 150.0
"""A consumer is missed after 10 s, a lease ends after 15, a chunk that nobody claims is sent again after 60."""


def jobs() -> list[dict[str, Any]]:
    """What runs while it happens: thirteen on Celery, one on Ray, two prompts."""
    roots = {"workload": "python", "items": [1, 4], "options": {"function": "math:sqrt"}}
    on_ray = {**roots, "engine": "ray", "items": [1, 4, 9, 16]}
    prompt = {"workload": "claude", "items": ["[[reply done]]"]}
    return [*[roots] * 13, on_ray, *[prompt] * 2]


@contextmanager
def killed(container: str) -> Iterator[None]:
    """It is gone at once, and stays so."""
    docker("kill", container)
    yield


@contextmanager
def paused(container: str) -> Iterator[None]:
    """It stands still, and goes on later as if nothing had been."""
    docker("pause", container)
    try:
        yield
    finally:
        docker("unpause", container)


@contextmanager
def cut_off(container: str) -> Iterator[None]:
    """It runs, and reaches nobody; later it is connected as it was."""
    networks: dict[str, Any] = json.loads(
        docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container)
    )
    for network in networks:
        docker("network", "disconnect", network, container)
    try:
        yield
    finally:
        for network, properties in networks.items():
            docker("network", "connect", *[f"--alias={name}" for name in properties["Aliases"]], network, container)


@pytest.mark.parametrize("fault", [killed, paused, cut_off])
@pytest.mark.parametrize("service", SERVICES)
async def test_one_of_two(
    mesh: ComposeMesh, client: PlainClient, service: str, fault: Callable[[str], AbstractContextManager[None]]
) -> None:
    """Jobs that are under way then, and jobs that come after it, all complete without it."""
    victim = mesh.containers(service)[0]
    under_way = client.publish(*jobs())
    with fault(victim):
        later = client.publish(*jobs())
        ends = client.wait_for_ends([*under_way, *later], seconds=END_SECONDS)
    assert {end["status"] for end in ends} == {"completed"}
    await mesh.heal(victim)


def test_nothing_is_lost(mesh: ComposeMesh, client: PlainClient) -> None:
    """After all of that each job has one end, and each item one result."""
    audited = mesh.mesh("audit", "--wait", "120")
    assert audited["breaches"] == []
    assert (audited["missing"], audited["differing_ends"]) == (0, 0)
    assert audited["accepted"] == audited["ended"] >= len(client.ends)
