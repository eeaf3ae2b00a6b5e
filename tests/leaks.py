"""A pytest plug-in: what tests must not leave behind, asked at the end of the session and by the tests that name it."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from eldermesh_cli.stack.processes.identity import ProcessIdentity
from tests.waiting import wait_until


def living_below(pid: int) -> list[ProcessIdentity]:
    """All descendants of a process that live."""
    found = [ProcessIdentity.of(child.pid) for child in psutil.Process(pid).children(recursive=True)]
    return [identity for identity in found if identity is not None]


def family_tree(pid: int) -> list[str]:
    """A line for each descendant of a process: its parent, since when, in which state, and its command."""
    lines = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess), child.oneshot():
            command = " ".join(child.cmdline()[-4:])
            lines.append(f"{child.pid} of {child.ppid()}, since {child.create_time():.1f}, {child.status()}: {command}")
    return lines


@pytest.fixture(scope="session", autouse=True)
def no_process_left() -> Iterator[None]:
    """Made first, and so asked last: when all servers of the session have been stopped, no child of the tests lives."""
    before = set(living_below(psutil.Process().pid))
    yield
    left = {
        identity.pid: _command(identity.pid)
        for identity in living_below(psutil.Process().pid)
        if identity not in before
    }
    assert not left, f"processes that the tests left: {left}"


@pytest.fixture(scope="session", autouse=True)
def no_temporary_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The session's own temporary directory is where files go that were not sent elsewhere.

    What multiprocessing leaves there comes from a killed process of the stack: its files belong below its data
    directory.
    """
    directory = tmp_path_factory.mktemp("tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(directory))
        patch.setattr(tempfile, "tempdir", None)
        yield
    left = [path.name for path in directory.glob("pymp-*")]
    assert not left, f"directories that processes left in the temporary directory: {left}"


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """For a test that names it first: afterwards there is no task, thread, connection or child that was not there."""
    this = psutil.Process()
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    children, sockets = set(living_below(this.pid)), set(this.net_connections())

    def left() -> dict[str, list[Any]]:
        found: dict[str, set[Any]] = {
            "tasks": asyncio.all_tasks() - tasks,
            "threads": {thread for thread in threading.enumerate() if not _of_the_loop(thread)} - threads,
            "children": set(living_below(this.pid)) - children,
            "connections": {each for each in this.net_connections() if each.status != psutil.CONN_NONE} - sockets,
        }
        return {kind: sorted(things, key=repr) for kind, things in found.items() if things}

    yield
    tasks |= {task for task in (asyncio.current_task(),) if task is not None}
    try:
        await wait_until(lambda: not left(), description="all is gone")
    except AssertionError:
        assert left() == {}, "left behind"
        raise


def _of_the_loop(thread: threading.Thread) -> bool:
    """Threads of `asyncio.to_thread` stay as long as the loop."""
    return thread.name.startswith("asyncio_")


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return "has ended meanwhile"
