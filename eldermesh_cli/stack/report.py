"""What `mesh ps` says of a service."""

from __future__ import annotations

import psutil

from eldermesh_cli.answers.stack import ProcessAnswer
from eldermesh_cli.stack.service import Service


def report_of(service: Service) -> ProcessAnswer:
    """Look at a service; reads `/proc`, so it takes some milliseconds.

    `rss_bytes` includes the leash; pages that processes share count for each of them.
    """
    leash_pid = service.leash_pid
    return ProcessAnswer(
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
