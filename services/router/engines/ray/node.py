"""A node of Ray: `python -m services.router.engines.ray.node head|worker`, which becomes `ray start --block`."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

from services.router.engines.ray.environment import ray_environment
from shared.errors import ConfigurationError
from shared.processes.service_process import settings_of_process
from shared.ray_head import head_address, ray_dir
from shared.settings import Settings

HEAD_PORT = 6379
SOCKET_NAME = "session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store"
"""The longest path that Ray appends to its temporary directory."""

_MAX_SOCKET_PATH = 107
_PLAIN = re.compile(r"[A-Za-z0-9._/+-]+")
_OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Close to the smallest size that Ray takes: no data goes through its object store."""

_JOIN_SECONDS = 40.0
_POLL_SECONDS = 0.1


def temp_dir(settings: Settings) -> str:
    """An empty directory for a node's files and sockets in the data directory; files of an earlier node are removed.

    The path of a unix socket has at most 107 bytes, and parts of Ray do not take spaces or special characters in paths.
    If the real path does not fit, the directory is named by a descriptor that this process, and the node it becomes,
    holds open; so no link has to be removed afterwards.
    """
    directory = ray_dir(settings) / "node"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)  # Ray makes the files in it readable by everybody
    inner = directory / "t"
    inner.mkdir()
    if len(os.fsencode(inner / SOCKET_NAME)) <= _MAX_SOCKET_PATH and _PLAIN.fullmatch(str(inner)):
        return str(inner)
    descriptor = os.open(inner, os.O_PATH | os.O_DIRECTORY)
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - the standard library takes it by position
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def raylet_socket(settings: Settings) -> Path | None:
    """The socket of the node on this data directory; None until it exists."""
    return next((ray_dir(settings) / "node" / "t").glob("session_2*/sockets/raylet*"), None)


def node_command(settings: Settings, kind: str, *, temp: str, port: int, cpus: int | None) -> list[str]:
    """The command of a node; it runs until SIGTERM.

    Raises:
        ConfigurationError: there is no head to join.
    """
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    command += [f"--temp-dir={temp}", f"--object-store-memory={_OBJECT_STORE_BYTES}", "--log-color=false"]
    # The system chooses ports: those of Ray's own range may be in use.
    command += ["--min-worker-port=0", "--max-worker-port=0"]
    if (address := own_address(settings)) is not None:
        command.append(f"--node-ip-address={address}")
    if cpus is not None:
        command.append(f"--num-cpus={cpus}")
    if kind == "head":
        return [*command, "--head", f"--port={port}", "--include-dashboard=false", "--include-log-monitor=false"]
    if settings.ray_address is None:
        raise ConfigurationError("MESH_RAY_ADDRESS does not say which head to join")
    return [*command, f"--address={settings.ray_address}"]


def own_address(settings: Settings) -> str | None:
    """The address of this machine on the way to the head; None on the head's own loopback interface, or without a head.

    Nodes reach each other at the addresses that they name. Left to itself, Ray names the one on the way to the
    Internet, and the loopback one where there is no way, as on the inner network of a compose file.

    Raises:
        ConfigurationError: the head's name is unknown, or there is no way to it.
    """
    if settings.ray_address is None:
        return None
    host, port = head_address(settings)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as asking:
            asking.connect(target)  # sends nothing
            address = str(asking.getsockname()[0])
    except OSError as error:
        raise ConfigurationError(f"MESH_RAY_ADDRESS: there is no way to {host}: {error.strerror or error}") from error
    return None if ip_address(address).is_loopback else address


@contextlib.contextmanager
def joined_node(settings: Settings) -> Iterator[None]:
    """With `ray_join`, a node without CPUs on this host, for a driver whose cluster has no node here.

    Raises:
        ConfigurationError: it did not start.
    """
    if not settings.ray_join:
        yield
        return
    command = node_command(settings, "worker", temp=temp_dir(settings), port=HEAD_PORT, cpus=0)
    node = subprocess.Popen(command, close_fds=False, stdin=subprocess.DEVNULL, stdout=2)
    deadline = time.monotonic() + _JOIN_SECONDS
    try:
        while raylet_socket(settings) is None:
            if node.poll() is not None or time.monotonic() > deadline:
                raise ConfigurationError("the Ray node beside the router did not start")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        node.terminate()


def main(arguments: Sequence[str] | None = None) -> None:
    """Become the node."""
    parser = argparse.ArgumentParser(prog="ray_node", description="A node of a Ray cluster.")
    parser.add_argument("kind", choices=("head", "worker"))
    parser.add_argument("--port", type=int, default=HEAD_PORT, help="where the head listens")
    parser.add_argument("--num-cpus", type=int, help="CPUs that runners may take; those of the machine by default")
    chosen = parser.parse_args(arguments)
    settings = settings_of_process("ray_node")
    os.environ.update(ray_environment(settings))
    temp = temp_dir(settings)
    try:
        command = node_command(settings, chosen.kind, temp=temp, port=chosen.port, cpus=chosen.num_cpus)
    except ConfigurationError as error:
        sys.exit(f"ray_node does not start: {error}")
    sys.stdout.flush()
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
