"""Free TCP ports of the loopback interface."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"

_FIRST = 15_000
_TRIES = 200


def free_ports(count: int) -> list[int]:
    """Return so many different ports, each as `free_port` finds it."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on.

    It lies below the range from which the kernel takes ports for outgoing connections, so that between this call and
    the start of the server (or between its death and its restart) no connection can take it by accident.

    Raises:
        OSError: no free port was found.
    """
    chosen = random.SystemRandom()
    last = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    for _ in range(_TRIES):
        port = chosen.randrange(_FIRST, last) if last > _FIRST else 0
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"no free TCP port on {LOOPBACK} after {_TRIES} tries")
