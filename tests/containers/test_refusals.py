"""What is set wrongly: what a person sees says what it is."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.containers.compose_mesh import ComposeMesh

_SECONDS = 60.0
_OTHER = {"COMPOSE_PROJECT_NAME": "mesh-test-refusals"}
"""A project of its own, so that the mesh goes on."""


def refused(mesh: ComposeMesh, *arguments: str, **variables: str) -> str:
    """What a command of compose says that does not succeed."""
    command = [*mesh.compose.docker_compose_command(), *arguments]
    environment = os.environ | variables
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert run.returncode != 0, run.stdout
    return run.stdout + run.stderr


@pytest.fixture
def removed(mesh: ComposeMesh) -> Iterator[None]:
    """What the other project has got is removed."""
    yield
    command = [*mesh.compose.docker_compose_command(), "down", "--volumes"]
    subprocess.run(command, env=os.environ | _OTHER, capture_output=True, timeout=_SECONDS, check=True)


@pytest.mark.parametrize("service", ["topics", "router", "worker-batch", "sages"])
def test_a_wrong_setting(mesh: ComposeMesh, service: str) -> None:
    """The setting, and what would be right; so of `topics`, for which all others wait."""
    said = refused(mesh, "run", "--rm", "--no-TTY", "--no-deps", service, MESH_SLOTS="x")
    assert "the settings are wrong: MESH_SLOTS: Input should be a valid integer" in said


@pytest.mark.usefixtures("removed")
def test_a_missing_image(mesh: ComposeMesh) -> None:
    """Docker says where it looked."""
    said = refused(mesh, "up", "--detach", "jaeger", MESH_JAEGER_IMAGE="127.0.0.1:1/eldermesh/none:1", **_OTHER)
    assert "127.0.0.1:1" in said.splitlines()[-1]


@pytest.mark.usefixtures("removed")
def test_a_port_in_use(mesh: ComposeMesh) -> None:
    """Docker says which."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(mesh, "up", "--detach", "jaeger", MESH_JAEGER_PORT=port, **_OTHER)
    assert f"127.0.0.1:{port}" in said.splitlines()[-1]


def test_a_wrong_password(mesh: ComposeMesh) -> None:
    """Redis refuses the user, and which setting names it."""
    wrong = ("--env", "MESH_REDIS_URL=redis://mesh:wrong@redis:6379/0", "--env", "MESH_REDIS_URL_FILE=")
    said = refused(mesh, "run", "--rm", "--no-TTY", *wrong, "mesh", "doctor")
    assert "Redis refuses the user of MESH_REDIS_URL: invalid username-password pair" in said
