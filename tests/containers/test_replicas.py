"""Two of each service: one is killed, paused, cut off or restarted, or a third comes and goes, under a mixed load."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.containers.compose_mesh import ComposeMesh
from tests.containers.docker_command import docker
from tests.containers.mixed_load import MixedLoad
from tests.containers.plain_client import PlainClient
from tests.waiting import wait_until

SERVICES = ("router", "sages", "notifier", "claude-exec", "worker-batch", "worker-claude", "ray-worker")
SCALED = ("router", "claude-exec", "worker-batch", "ray-worker")

_RESTART_SECONDS = 240.0
"""One container after another, each of which may take 30 s."""

_FREEZES = 5
"""With cgroups of version 1 Docker gives up at once on a container that starts processes while it is frozen."""


@contextmanager
def killed(container: str) -> Iterator[None]:
    """It is gone at once; later it is started again."""
    docker("kill", container)
    try:
        yield
    finally:
        docker("start", container)


@contextmanager
def paused(container: str) -> Iterator[None]:
    """It stands still, and goes on later as if nothing had been."""
    for attempt in range(_FREEZES):
        try:
            docker("pause", container)
            break
        except AssertionError:
            if attempt + 1 == _FREEZES:
                raise
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


@pytest.fixture(scope="module")
def load(client: PlainClient) -> MixedLoad:
    """Forty-four jobs for each service that something happens to: 308 for each kind of fault."""
    return MixedLoad(client)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("fault", [killed, paused, cut_off])
async def test_one_of_two(
    mesh: ComposeMesh, load: MixedLoad, service: str, fault: Callable[[str], AbstractContextManager[None]]
) -> None:
    """Jobs that are under way then, and jobs that come after it, all complete without it."""
    await mesh.healthy(service)
    victim = mesh.containers(service)[0]
    load.publish()
    with fault(victim):
        load.publish()
        await assert_settled(mesh, load)


async def test_a_rolling_restart(mesh: ComposeMesh, load: MixedLoad) -> None:
    """First one of each service, then the other, as for a new version: who is stopped hands its work on."""
    for each in range(2):
        await mesh.healthy(*SERVICES)
        load.publish()
        docker("restart", *[mesh.containers(service)[each] for service in SERVICES], seconds=_RESTART_SECONDS)
        load.publish()
        await assert_settled(mesh, load)


async def test_a_third_comes_and_goes(mesh: ComposeMesh, load: MixedLoad) -> None:
    """More of what does the work, then as many as before: those that go hand their work on."""
    for count in (3, 2):
        await mesh.healthy(*SERVICES)
        load.publish()
        mesh.scale(dict.fromkeys(SCALED, count))
        load.publish()
        await assert_settled(mesh, load)
        assert [len(mesh.containers(service)) for service in SCALED] == [count] * len(SCALED)


def test_nothing_is_lost(mesh: ComposeMesh, client: PlainClient) -> None:
    """After all of that each job has one end, and each item one result."""
    audited = mesh.mesh("audit", "--wait", "120")
    assert audited["breaches"] == []
    assert (audited["missing"], audited["differing_ends"]) == (0, 0)
    assert audited["accepted"] + audited["requests"]["accepted"] >= len(client.ends)
    assert audited["accepted"] == audited["ended"]
    assert audited["requests"]["accepted"] == audited["requests"]["ended"]


async def assert_settled(mesh: ComposeMesh, load: MixedLoad) -> None:
    """All has ended well and in time, and people were told of what they asked for: once more at most, after a crash."""
    told = load.settle()

    def heard() -> bool:
        notices = mesh.run("logs", "--no-log-prefix", "notifier")
        return all(1 <= notices.count(f"Job {job_id} completed") <= 2 for job_id in told)

    await wait_until(heard, description=f"people are told of {told}", timeout_seconds=90, interval_seconds=1)
