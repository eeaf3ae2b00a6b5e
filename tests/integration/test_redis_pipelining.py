"""Commands of concurrent tasks go to Redis together, and each task has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from shared.redis_client import make_redis
from shared.redis_pipelining import PipeliningRedis
from shared.settings import Settings

CALLERS = 20


@pytest.fixture
async def client(redis_server: str) -> AsyncIterator[Any]:
    """A connected client."""
    client = make_redis(Settings(redis_url=SecretStr(redis_server)), PipeliningRedis)
    await client.ping()
    yield client
    await client.aclose()


async def test_callers_of_one_turn_share_a_write(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while they are answered is the next one: two writes for two rounds of twenty callers."""
    connection = client.connection_pool.connection_class
    write = connection.send_packed_command
    writes: list[Any] = []

    async def noted(self: Any, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - the client's own signature
        writes.append(command)
        await write(self, command, check_health)

    monkeypatch.setattr(connection, "send_packed_command", noted)

    async def ask(name: int) -> None:
        assert await client.echo(f"first {name}") == f"first {name}".encode()
        assert await client.echo(f"second {name}") == f"second {name}".encode()

    await asyncio.gather(*(ask(name) for name in range(CALLERS)))
    assert len(writes) == 2


async def test_an_error_is_of_its_command_alone(client: Any) -> None:
    """One that Redis refuses fails; those sent with it are answered. A script that is new to Redis is loaded."""
    script = client.register_script("return redis.call('INCR', KEYS[1])")
    await client.delete("count")
    calls = [client.execute_command("NO SUCH COMMAND"), script(keys=["count"]), client.echo("x")]
    outcomes: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(outcomes[0], ResponseError)
    assert outcomes[1:] == [1, b"x"]


async def test_a_cancelled_caller_hinders_nobody(client: Any) -> None:
    """Before its command is sent, or after: others get their own answers."""
    for turns in range(CALLERS):
        cancelled = asyncio.ensure_future(client.echo("cancelled"))
        other = asyncio.ensure_future(client.echo(f"other {turns}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        if cancelled.cancel():
            await asyncio.wait({cancelled})
            assert cancelled.cancelled()
        assert await other == f"other {turns}".encode()


async def test_a_close_answers_who_still_waits(client: Any) -> None:
    """Nobody waits for ever for a client that is gone."""
    calls = [asyncio.ensure_future(client.execute_command("DEBUG", "SLEEP", "0")) for _ in range(2)]
    await asyncio.sleep(0)
    await client.aclose()
    for call in calls:
        with pytest.raises((RedisConnectionError, ResponseError)):
            await call


async def test_all_fail_if_redis_does_not_answer() -> None:
    """Each caller is told."""
    gone = make_redis(Settings(redis_url=SecretStr("redis://127.0.0.1:1")), PipeliningRedis)
    outcomes = await asyncio.gather(*(gone.ping() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(outcome, RedisConnectionError) for outcome in outcomes)
    await gone.aclose()
