"""What the embedded stack keeps in files, and the small rules of restarts."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from eldermesh_cli.stack.control import SOCKET_NAME, control_server, request
from eldermesh_cli.stack.data_dir import DataDirLock
from eldermesh_cli.stack.errors import DataDirInUseError, NotRunningError, RequestRefusedError, RuntimeFileDamagedError
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.processes.log_file import cut_log, log_tail, open_log
from eldermesh_cli.stack.processes.restarts import Deaths, RestartPolicy
from eldermesh_cli.stack.runtime_file import (
    RUNTIME_NAME,
    Runtime,
    RuntimeProcess,
    live_runtime,
    read_runtime,
    remove_runtime,
    write_runtime,
)
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, kept_ports


def a_runtime() -> Runtime:
    """A runtime whose supervisor is this process."""
    return Runtime(
        kafka_bootstrap="127.0.0.1:1",
        redis_url="redis://127.0.0.1:2/0",
        supervisor=ProcessIdentity.of_this_process(),
        ready_seconds=1.5,
        processes=(RuntimeProcess(name="broker", pid=1),),
    )


def test_a_runtime_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Written, read, replaced, removed; only its owner may read it, and nothing else lies beside it."""
    assert read_runtime(tmp_path) is None
    write_runtime(tmp_path, a_runtime())
    assert read_runtime(tmp_path) == live_runtime(tmp_path) == a_runtime()
    assert (tmp_path / RUNTIME_NAME).stat().st_mode & 0o777 == 0o600
    changed = a_runtime().model_copy(update={"otlp_endpoint": "http://127.0.0.1:3"})
    write_runtime(tmp_path, changed)
    assert read_runtime(tmp_path) == changed
    assert [path.name for path in tmp_path.iterdir()] == [RUNTIME_NAME]
    remove_runtime(tmp_path)
    remove_runtime(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pid_that_was_used_again_is_not_taken_for_the_mesh(tmp_path: Path) -> None:
    """Another start time or another boot: the file is stale, though a process of that pid runs."""
    this = ProcessIdentity.of_this_process()
    for other in (
        replace(this, start_ticks=this.start_ticks - 1),
        replace(this, boot_id="another"),
        replace(this, pid=0),
    ):
        write_runtime(tmp_path, a_runtime().model_copy(update={"supervisor": other}))
        assert read_runtime(tmp_path) is not None
        assert live_runtime(tmp_path) is None


def test_a_damaged_runtime_file_is_an_error(tmp_path: Path) -> None:
    """What is no runtime file is neither ignored nor removed."""
    (tmp_path / RUNTIME_NAME).write_text('{"kafka_bootstrap": 1}')
    with pytest.raises(RuntimeFileDamagedError, match=r"runtime\.json is damaged"):
        read_runtime(tmp_path)


async def test_an_identity_knows_the_dead(tmp_path: Path) -> None:
    """A process that ended is not alive, also before it was reaped."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)  # noqa: ASYNC220 - reaped below
    identity = ProcessIdentity.of(process.pid)
    assert identity is not None
    assert identity.is_alive()
    assert await identity.wait_gone(0.05) is False
    process.kill()
    assert await identity.wait_gone(60.0) is True
    process.communicate()
    assert ProcessIdentity.of(process.pid) is None


async def test_a_data_directory_has_one_owner(tmp_path: Path) -> None:
    """Taken, it is refused at once, with the owner's pid; given back, it can be taken again."""
    with await DataDirLock.acquire(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        async with asyncio.timeout(60):
            with pytest.raises(DataDirInUseError, match=f"process {os.getpid()} runs a mesh on .*mesh down"):
                await DataDirLock.acquire(tmp_path / "data", leftovers_seconds=600.0)
    (await DataDirLock.acquire(tmp_path / "data")).release()


async def test_what_a_dead_owner_left_is_waited_for(tmp_path: Path) -> None:
    """While a descendant of a dead owner holds the directory, taking it waits, and fails after the limit."""
    left = await DataDirLock.acquire(tmp_path)
    dead = replace(ProcessIdentity.of_this_process(), start_ticks=1)
    (tmp_path / "lock").write_text(json.dumps(asdict(dead)))
    with pytest.raises(DataDirInUseError):
        await DataDirLock.acquire(tmp_path, leftovers_seconds=0.1)
    (tmp_path / "lock").write_text("half wri")
    waiting = asyncio.create_task(DataDirLock.acquire(tmp_path, leftovers_seconds=60.0))
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()
    left.release()
    (await waiting).release()


async def test_the_control_socket_answers_and_refuses(tmp_path: Path) -> None:
    """A verb's result and its failure both reach who asked; the socket is private and is removed."""

    async def echo(asked: dict[str, object]) -> dict[str, object]:
        return {"said": asked["word"]}

    data_dir = tmp_path / ("x" * 100) / ("y" * 100)
    data_dir.mkdir(parents=True)
    with pytest.raises(NotRunningError):
        await request(data_dir, "echo")
    async with control_server(data_dir, {"echo": echo}):  # type: ignore[dict-item]
        assert await request(data_dir, "echo", word="hello") == {"said": "hello"}
        with pytest.raises(RequestRefusedError, match=r"echo: 'word' \(KeyError\)"):
            await request(data_dir, "echo")
        with pytest.raises(RequestRefusedError, match="no such request"):
            await request(data_dir, "sing")
        assert (data_dir / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
    assert list(data_dir.iterdir()) == []


async def test_who_asks_too_much_does_not_stop_the_control_socket(tmp_path: Path) -> None:
    """A line that is no JSON, or longer than the bound, is refused; the next request is answered."""

    async def pong(_: object) -> dict[str, object]:
        return {}

    async with control_server(tmp_path, {"ping": pong}):
        for line in (b"{\n", b"[]\n", b"\xff\n", b"", b"x" * 600_000 + b"\n"):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
            writer.write(line)
            writer.write_eof()
            try:
                assert b"no such request" in await reader.read()
            except ConnectionResetError:
                assert len(line) > 500_000  # closed with most of it unread
            writer.close()
        assert await request(tmp_path, "ping") == {}


def test_logs_are_bounded(tmp_path: Path) -> None:
    """A log above its bound is rotated when it is opened, and also while it is written; the oldest go."""
    path = tmp_path / "logs" / "a.log"
    for word in ("one", "two", "three", "four"):
        log = open_log(path, max_bytes=2, kept=2)
        os.write(log, word.encode())
        os.close(log)
    assert {file.name: file.read_text() for file in path.parent.iterdir()} == {
        "a.log": "four",
        "a.log.1": "three",
        "a.log.2": "two",
    }
    log = open_log(path, max_bytes=100)
    assert cut_log(path, max_bytes=100) is False
    assert cut_log(path, max_bytes=2) is True
    os.write(log, b"five")
    os.close(log)
    assert path.read_text() == "five"
    assert path.with_name("a.log.1").read_text() == "four"


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    """The last lines, whatever bytes they are of; nothing without a file."""
    path = tmp_path / "a.log"
    assert log_tail(path) == ""
    path.write_bytes(b"x" * 100_000 + b"\n1\n2\n\xff3\n")
    assert log_tail(path, lines=2) == "2\n�3"


def test_restarts_back_off_within_a_bound() -> None:
    """Delays double up to the bound and stay there; a life that was not quick starts the count again."""
    policy = RestartPolicy(first_delay_seconds=1.0, max_delay_seconds=3.0, quick_seconds=10.0, give_up_after=5)
    deaths = Deaths(policy)
    lived = [1.0, 1.0, 1.0, 11.0, 1.0, 1.0, 1.0, 1.0]
    assert [(deaths.record(seconds), deaths.are_too_many) for seconds in lived] == [
        *((1.0, False), (2.0, False), (3.0, False)),
        *((1.0, False), (2.0, False), (3.0, False), (3.0, False), (3.0, True)),
    ]
    assert {deaths.record(1.0) for _ in range(2000)} == {3.0}


def test_ports_are_kept_as_far_as_they_are_free(tmp_path: Path) -> None:
    """The second time gives the same ports; one that is taken, or stands for nothing, is another and distinct one."""
    path = tmp_path / "ports.json"
    first = kept_ports(path, ("broker", "redis"))
    assert len(set(first.values())) == 2
    assert kept_ports(path, ("broker", "redis")) == first
    with socket.socket() as server:
        server.bind((LOOPBACK, first["broker"]))
        server.listen()
        second = kept_ports(path, ("broker", "redis", "telemetry"))
    assert second["redis"] == first["redis"]
    assert second["broker"] != first["broker"]
    assert len(set(second.values())) == 3
    for damaged in ("", "[]", '{"broker": "x", "redis": 70000}', '{"broker": 20001, "redis": 20001}'):
        path.write_text(damaged, encoding="ascii")
        assert len(set(kept_ports(path, ("broker", "redis")).values())) == 2
