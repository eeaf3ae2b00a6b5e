"""What tests of containers share: one mesh of compose.yaml, and a plain Kafka client of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.compose_mesh import ComposeMesh
from tests.containers.docker_command import docker, docker_missing
from tests.containers.plain_client import PlainClient
from tests.required_servers import VARIABLES, is_required

# Its image comes from a registry; the tests remove what they start themselves, and look whether they did.
os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this directory, and skip them where there is no Docker."""
    here = Path(__file__).parent
    mine = [item for item in items if here in item.path.parents]
    missing = (docker_missing() or _not_asked_for()) if mine else None
    for item in mine:
        item.add_marker(pytest.mark.containers)
        item.add_marker(pytest.mark.slow)
        if missing is not None:
            item.add_marker(pytest.mark.skip(reason=missing))


def _not_asked_for() -> str | None:
    """They build images and take a quarter of an hour, so nobody gets them by surprise."""
    return None if is_required("containers") else f"a test of containers, which {VARIABLES['containers']}=1 asks for"


@pytest.fixture(scope="session", autouse=True)
def nothing_left_in_docker() -> Iterator[None]:
    """Asked last: no volume or network is there that was not, not even one without a name."""
    before = _things()
    yield
    assert _things() <= before


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeMesh]:
    """The mesh, all of it healthy."""
    mesh = ComposeMesh(tmp_path_factory.mktemp("compose"))
    with mesh.compose:
        yield mesh
    assert mesh.left() == []


@pytest.fixture(scope="session")
def client(mesh: ComposeMesh) -> Iterator[PlainClient]:
    """A Kafka client on this host."""
    client = PlainClient(mesh.bootstrap)
    yield client
    client.close()


def _things() -> set[str]:
    return {line for kind in ("volume", "network") for line in docker(kind, "ls", "--quiet").split()}
