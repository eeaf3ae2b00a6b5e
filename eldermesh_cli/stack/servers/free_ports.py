"""Free TCP ports of the loopback interface."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"

_FIRST = 15_000
_TRIES = 200


def kept_ports(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Return a port for each name: those of the last time, which the file tells, as far as they are free.

    So what clients were told of a mesh holds after it was stopped and started again. Call it only while holding the
    data directory that the file is in.
    """
    try:
        remembered = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        remembered = {}
    ports: dict[str, int] = {}
    for name in names:
        port = remembered.get(name) if isinstance(remembered, dict) else None
        while not isinstance(port, int) or port in ports.values() or not _can_listen(port):
            port = free_port()
        ports[name] = port
    path.write_text(json.dumps(ports), encoding="ascii")
    return ports


def _can_listen(port: int) -> bool:
    """Whether a server could; connections of an earlier server that are still fading do not keep it from that."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
    return True


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
