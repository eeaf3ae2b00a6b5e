"""A real Redis that answers and refuses, in the ways that people report, and that takes everything again afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from tests.waiting import wait_until

_DEAD_MASTER = ("127.0.0.1", "1")

Act = Callable[[Redis, EmbeddedRedis], Awaitable[object]]


async def _ask(redis: Redis, *words: str) -> None:
    ask: Any = redis.execute_command
    await ask(*words)


async def _read_only(redis: Redis, _: EmbeddedRedis) -> None:
    """As in a failover: what was the master is a replica."""
    await _ask(redis, "REPLICAOF", *_DEAD_MASTER)


async def _master(redis: Redis, _: EmbeddedRedis) -> None:
    await _ask(redis, "REPLICAOF", "NO", "ONE")
    await redis.config_set("replica-serve-stale-data", "yes")


async def _master_down(redis: Redis, server: EmbeddedRedis) -> None:
    """A replica that has lost its master and answers nothing."""
    await redis.config_set("replica-serve-stale-data", "no")
    await _read_only(redis, server)


async def _out_of_memory(redis: Redis, _: EmbeddedRedis) -> None:
    await redis.config_set("maxmemory", 1)


async def _memory(redis: Redis, _: EmbeddedRedis) -> None:
    await redis.config_set("maxmemory", 0)


async def _disk_failed(redis: Redis, server: EmbeddedRedis) -> None:
    """Its last snapshot could not be written: the process that wrote it was killed."""
    await redis.config_set("save", "3600 1")
    await redis.config_set("rdb-key-save-delay", 10_000_000)
    await redis.set("eldermesh-test:saved", 1)
    await _ask(redis, "BGSAVE")
    assert server.service.pid is not None
    process = psutil.Process(server.service.pid)
    (saving,) = await wait_until(process.children, description="a snapshot is being written")
    saving.kill()

    async def failed() -> bool:
        return str((await redis.info("persistence"))["rdb_last_bgsave_status"]) == "err"

    await wait_until(failed, description="the snapshot has failed")


async def _disk(redis: Redis, _: EmbeddedRedis) -> None:
    await redis.config_set("rdb-key-save-delay", 0)
    await redis.config_set("save", "")


async def _password(redis: Redis, _: EmbeddedRedis) -> None:
    """A password was set, and every connection has to say it."""
    await _ask(redis, "ACL", "SETUSER", "default", "on", ">another")
    await redis.client_kill_filter(_type="normal", skipme=True)


async def _no_password(redis: Redis, _: EmbeddedRedis) -> None:
    await _ask(redis, "ACL", "SETUSER", "default", "nopass")


async def _no_permission(redis: Redis, _: EmbeddedRedis) -> None:
    """The user that the mesh logs in as may not write any more."""
    await _ask(redis, "ACL", "SETUSER", "default", "-@write")


async def _permission(redis: Redis, _: EmbeddedRedis) -> None:
    await _ask(redis, "ACL", "SETUSER", "default", "+@all")


async def _busy(redis: Redis, server: EmbeddedRedis) -> None:
    """A script of somebody else's runs on and on."""
    await redis.config_set("busy-reply-threshold", 1)  # milliseconds
    loops = Redis.from_url(server.url, socket_timeout=0.2)
    with suppress(RedisError):
        await loops.eval("while true do end", 0)
    await loops.aclose()


async def _idle(redis: Redis, _: EmbeddedRedis) -> None:
    await _ask(redis, "SCRIPT", "KILL")  # which is obeyed a moment later

    async def obeyed() -> bool:
        try:
            await redis.config_set("busy-reply-threshold", 5000)
        except ResponseError as error:
            if str(error).startswith("BUSY"):
                return False
            raise
        return True

    await wait_until(obeyed, description="the script has ended")


WAYS: dict[str, tuple[Act, Act]] = {
    "READONLY": (_read_only, _master),
    "MASTERDOWN": (_master_down, _master),
    "OOM": (_out_of_memory, _memory),
    "MISCONF": (_disk_failed, _disk),
    "NOAUTH": (_password, _no_password),
    "NOPERM": (_no_permission, _permission),
    "BUSY": (_busy, _idle),
}
"""How to make a Redis refuse, and how to make it take everything again, by the word that it refuses with."""


@asynccontextmanager
async def refusing(server: EmbeddedRedis, way: str) -> AsyncIterator[None]:
    """Redis refuses writes, or everything, in one of `WAYS`, until the block is left."""
    begin, end = WAYS[way]
    redis = Redis.from_url(server.url)
    await redis.ping()  # connected before the password changes
    try:
        await begin(redis, server)
        await _assert_refuses(server, way)
        try:
            yield
        finally:
            await end(redis, server)
    finally:
        await redis.aclose()


async def _assert_refuses(server: EmbeddedRedis, way: str) -> None:
    probe = Redis.from_url(server.url)
    try:
        with pytest.raises(RedisError) as refused:
            # One that has lost its master says so to who reads.
            await (probe.get("eldermesh-test") if way == "MASTERDOWN" else probe.set("eldermesh-test", 1))
    finally:
        await probe.aclose()
    word = refused.value.status_code or str(refused.value).partition(" ")[0]
    assert word == way, f"it refuses with {refused.value!r}"
