"""What `mesh ps` says of a service."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import psutil

from eldermesh_cli.stack.service import Service


@dataclass(frozen=True, kw_only=True)
class ProcessReport:
    """A service as it stands.

    Attributes:
        name: Its name.
        pid: Its own process; None while there is none.
        state: A value of `ServiceState`.
        restarts_total: Restarts since the stack was started.
        rss_bytes: Resident memory of all its processes, the leash included; pages shared between them count for each.
        trouble: How it ended last, and how often in a row; None if it has not, or has been well since for long enough.
    """

    name: str
    pid: int | None
    state: str
    restarts_total: int
    rss_bytes: int
    trouble: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the contract's JSON object."""
        return asdict(self)


def report_of(service: Service) -> ProcessReport:
    """Look at a service; reads `/proc`, so it takes some milliseconds."""
    leash_pid = service.leash_pid
    return ProcessReport(
        name=service.spec.name,
        pid=service.pid,
        state=service.state.value,
        restarts_total=service.restarts_total,
        rss_bytes=0 if leash_pid is None else tree_rss_bytes(leash_pid),
        trouble=None if service.is_well else service.trouble,
    )


def tree_rss_bytes(pid: int) -> int:
    """Return the resident memory of a process and all its descendants; those that end meanwhile count nothing."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
