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


@pytest.mark.parametrize("when", ["before it is sent", "while it is answered"])
async def test_a_cancelled_caller_hinders_nobody(client: Any, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Others get their own answers."""
    sent, may_be_answered = asyncio.Event(), asyncio.Event()
    ask = PipeliningRedis._pipelined  # noqa: SLF001 - where what is sent together goes out

    async def held_up(self: PipeliningRedis, calls: Any) -> list[Any]:
        answers = await ask(self, calls)
        sent.set()
        await may_be_answered.wait()
        return answers

    monkeypatch.setattr(PipeliningRedis, "_pipelined", held_up)
    cancelled, *others = [asyncio.ensure_future(client.echo(name)) for name in ("cancelled", "one", "two")]
    if when == "while it is answered":
        async with asyncio.timeout(10):
            await sent.wait()
    cancelled.cancel()
    may_be_answered.set()
    await asyncio.wait({cancelled})
    assert cancelled.cancelled()
    assert await asyncio.gather(*others) == [b"one", b"two"]


async def test_a_close_answers_who_still_waits(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever for a client that is gone."""
    asked = asyncio.Event()

    async def unanswered(*_: Any) -> list[Any]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(PipeliningRedis, "_pipelined", unanswered)
    calls = [asyncio.ensure_future(client.echo("x")) for _ in range(2)]
    async with asyncio.timeout(10):
        await asked.wait()
    await client.aclose()
    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    assert all(isinstance(outcome, RedisConnectionError) for outcome in outcomes)


async def test_all_fail_if_redis_does_not_answer() -> None:
    """Each caller is told."""
    gone = make_redis(Settings(redis_url=SecretStr("redis://127.0.0.1:1")), PipeliningRedis)
    outcomes = await asyncio.gather(*(gone.ping() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(outcome, RedisConnectionError) for outcome in outcomes)
    await gone.aclose()
