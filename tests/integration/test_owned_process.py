"""An owned process ends when it should, with everything it started, whoever is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from eldermesh_cli.stack.errors import StackError
from eldermesh_cli.stack.processes.child import OwnedProcess
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.processes.log_file import log_tail
from tests.integration.owned import identities_in, tree_command, wait_all_gone
from tests.waiting import wait_until

OWNER = """
import asyncio, sys
from pathlib import Path
from eldermesh_cli.stack.processes.child import OwnedProcess

async def main():
    process = OwnedProcess(sys.argv[2:], log_path=Path(sys.argv[1]))
    process.start()
    await process.wait()

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """No test leaves a child of this process."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert left == []


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    """The log of the process under test."""
    return tmp_path / "logs" / "process.log"


async def test_the_end_of_the_command_is_told_as_it_was(log_path: Path) -> None:
    """Exit status, signal, output of both streams and environment are those of the command."""
    script = "import os, sys; print(os.environ['WORD']); sys.stderr.write('to stderr\\n'); sys.exit(7)"
    process = OwnedProcess([sys.executable, "-c", script], log_path=log_path, env={"WORD": "to stdout"})
    process.start()
    assert await process.wait() == 7
    assert sorted(log_tail(log_path).splitlines()) == ["to stderr", "to stdout"]

    by_signal = OwnedProcess([sys.executable, "-c", "import os; os.kill(os.getpid(), 10); input()"], log_path=log_path)
    by_signal.start()
    assert await by_signal.wait() == -signal.SIGUSR1


def test_what_cannot_be_executed_is_named(log_path: Path) -> None:
    """The reason of the failed execution comes back; no process is left."""
    process = OwnedProcess(["/no/such/program"], log_path=log_path)
    with pytest.raises(StackError, match="/no/such/program: No such file or directory"):
        process.start()
    with pytest.raises(StackError, match="not used twice"):
        process.start()


async def test_a_command_starts_with_default_signals_and_no_foreign_descriptor(log_path: Path) -> None:
    """Neither the leash's signal dispositions nor its descriptors, the held one included, reach the command."""
    held, other_end = os.pipe()
    process = OwnedProcess(
        ["sh", "-c", "grep SigIgn /proc/self/status; ls /proc/self/fd"], log_path=log_path, held_fds=(held,)
    )
    process.start()
    os.close(held)
    assert await process.wait() == 0
    os.close(other_end)
    label, ignored, *descriptors = log_tail(log_path).split()
    assert label == "SigIgn:"
    # Signals 1 to 31: what `make` starts has 32 and 33 ignored, which glibc keeps to itself and lets nobody reset.
    assert int(ignored, 16) & 0x7FFFFFFF == 0
    assert descriptors == ["0", "1", "2", "3"]  # 3 is the listed directory


async def test_stop_asks_first(tmp_path: Path, log_path: Path) -> None:
    """A command that ends at SIGTERM is not killed; what it leaves behind, in other sessions too, is."""
    process = OwnedProcess(tree_command(tmp_path / "pids", "leave"), log_path=log_path)
    process.start()
    tree = await identities_in(tmp_path / "pids")
    assert process.pid == tree[0].pid
    assert await process.stop(grace_seconds=60.0) is False
    assert process.poll() == 0
    assert not [identity for identity in tree if identity.is_alive()]


async def test_stop_kills_after_the_grace(tmp_path: Path, log_path: Path) -> None:
    """A tree that ignores SIGTERM is killed as a whole when its grace is over, and `stop` says so."""
    process = OwnedProcess(tree_command(tmp_path / "pids", "stubborn"), log_path=log_path)
    process.start()
    tree = await identities_in(tmp_path / "pids")
    async with asyncio.timeout(60):
        assert await process.stop(grace_seconds=0.3) is True
    assert process.poll() == -signal.SIGKILL
    assert not [identity for identity in tree if identity.is_alive()]
    assert await process.stop(grace_seconds=0.3) is True


async def test_a_stopped_command_is_killed_too(tmp_path: Path, log_path: Path) -> None:
    """SIGSTOP keeps neither the command nor its children from being ended."""
    process = OwnedProcess(tree_command(tmp_path / "pids"), log_path=log_path)
    process.start()
    tree = await identities_in(tmp_path / "pids")
    for identity in tree:
        os.kill(identity.pid, signal.SIGSTOP)
    await wait_until(
        lambda: all(psutil.Process(identity.pid).status() == psutil.STATUS_STOPPED for identity in tree),
        description="the tree is stopped",
    )
    assert await process.stop(grace_seconds=0.2) is True
    assert not [identity for identity in tree if identity.is_alive()]


async def test_kill_needs_no_event_loop(tmp_path: Path, log_path: Path) -> None:
    """`kill` returns when the whole tree is gone."""
    process = OwnedProcess(tree_command(tmp_path / "pids", "stubborn"), log_path=log_path)
    process.start()
    tree = await identities_in(tmp_path / "pids")
    process.kill()
    assert process.killed
    assert not [identity for identity in tree if identity.is_alive()]


async def test_a_killed_command_takes_its_children_along(tmp_path: Path, log_path: Path) -> None:
    """SIGKILL to the command alone: its descendants, orphaned by that, are gone when `wait` returns."""
    process = OwnedProcess(tree_command(tmp_path / "pids", "stubborn"), log_path=log_path)
    process.start()
    tree = await identities_in(tmp_path / "pids")
    os.kill(tree[0].pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert not [identity for identity in tree if identity.is_alive()]


async def test_nothing_outlives_a_killed_owner(tmp_path: Path, log_path: Path) -> None:
    """SIGKILL to the owner: no process of a stubborn tree survives, in whatever session it is."""
    command = tree_command(tmp_path / "pids", "stubborn")
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, str(log_path), *command)
    tree = await identities_in(tmp_path / "pids")
    owner.kill()
    await owner.wait()
    await wait_all_gone(tree)


async def test_a_killed_leash_takes_the_command_along(tmp_path: Path, log_path: Path) -> None:
    """SIGKILL to the leash: the command dies with it, and the owner kills what is in its process group."""
    process = OwnedProcess(["sh", "-c", "sleep 100 & echo $! $$; wait"], log_path=log_path)
    process.start()
    assert process.leash_pid is not None
    pids = (await wait_until(log_path.read_text, description="the command tells its pids")).split()
    tree = [identity for pid in pids if (identity := ProcessIdentity.of(int(pid)))]
    assert len(tree) == 2
    os.kill(process.leash_pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    await wait_all_gone(tree)


async def test_a_process_outlives_the_thread_that_started_it(tmp_path: Path, log_path: Path) -> None:
    """The kernel's parent-death signal comes with the end of a *thread*; the leash must not take it for the owner's."""
    process = OwnedProcess(tree_command(tmp_path / "pids"), log_path=log_path)
    starter = threading.Thread(target=process.start)
    starter.start()
    tree = await identities_in(tmp_path / "pids")
    await asyncio.to_thread(starter.join)
    assert await process.ended_within(0.5) is False
    assert all(identity.is_alive() for identity in tree)
    await process.stop(grace_seconds=60.0)
    assert not [identity for identity in tree if identity.is_alive()]


async def test_a_held_descriptor_is_held_until_the_last_process_is_gone(tmp_path: Path, log_path: Path) -> None:
    """The write end of a pipe given to the leash stays open exactly as long as the tree lives."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    process = OwnedProcess(tree_command(tmp_path / "pids"), log_path=log_path, held_fds=(write_end,))
    process.start()
    os.close(write_end)
    await identities_in(tmp_path / "pids")
    with pytest.raises(BlockingIOError):
        os.read(read_end, 1)
    await process.stop(grace_seconds=60.0)
    assert os.read(read_end, 1) == b""
    os.close(read_end)
