"""A pytest plug-in: one Ray head for the session. Each test has runners of its own, by the prefix of its topics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from eldermesh_cli.stack.servers.ray import EmbeddedRay

CPUS = 2


def reaching(head: EmbeddedRay) -> dict[str, Any]:
    """The settings of a mesh that runs jobs on this head."""
    return {"ray_address": head.address, "ray_auth_token": head.token}


def runner_pids(head: EmbeddedRay) -> set[int]:
    """The processes of all runners on this head."""
    leash = head.service.leash_pid
    family = [] if leash is None else psutil.Process(leash).children(recursive=True)
    found = set()
    for process in family:
        try:
            if "".join(process.cmdline()[:1]).startswith("ray::RayRunner"):
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="session")
def ray_head(server_dir: Path) -> Iterator[EmbeddedRay]:
    """A head with two CPUs."""
    head = EmbeddedRay(server_dir / "ray-head", cpus=CPUS)
    # A loop of its own that is never made the current one: the tests have theirs.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(head.start())
        try:
            yield head
        finally:
            runner.run(head.stop())
    assert head.service.leash_pid is None
