"""The command of a Ray node: the address that it names."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from eldermesh.launch import python_command
from services.router.engines.ray.node import node_command, own_address
from shared.errors import ConfigurationError
from shared.settings import Settings


def with_head(address: str | None) -> Settings:
    """Settings with this head."""
    return Settings(ray_address=address, _env_file=None)


def other_address() -> str:
    """An address of this machine that is not a loopback one."""
    for interface in psutil.net_if_addrs().values():
        for address in interface:
            if address.family is socket.AF_INET and not ipaddress.ip_address(address.address).is_loopback:
                return address.address
    pytest.skip("this machine has only a loopback interface")


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_a_node_names_its_address_on_the_way_to_the_head(kind: str) -> None:
    """The head's own is the one at which it is reached."""
    address = other_address()
    command = node_command(with_head(f"{address}:6379"), kind, temp="t", port=6379, cpus=1)
    assert f"--node-ip-address={address}" in command


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "localhost:6379", None])
def test_on_the_loopback_interface_ray_chooses(address: str | None) -> None:
    """A mesh on one machine: any address does."""
    assert own_address(with_head(address)) is None


def test_a_head_that_nobody_knows(tmp_path: Path) -> None:
    """One sentence, and exit status 1: the next start may find it."""
    with pytest.raises(ConfigurationError, match="there is no way to head"):
        own_address(with_head("head.invalid:6379"))
    environment = os.environ | {"MESH_RAY_ADDRESS": "head.invalid:6379", "MESH_DATA_DIR": str(tmp_path)}
    ran = subprocess.run(
        [*python_command("services.router.engines.ray.node", "worker")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.strip().startswith("ray_node does not start: MESH_RAY_ADDRESS: there is no way to head.invalid")
    assert "Traceback" not in ran.stderr
