"""The client of Redis: a task that uses it can be stopped at any time."""

from __future__ import annotations

import asyncio

from pydantic import SecretStr

from shared.redis_client import make_redis
from shared.settings import Settings

TURNS = 20
"""More turns of the loop than a call takes before its answer is waited for."""


async def test_no_cancellation_is_lost(redis_server: str) -> None:
    """Whichever turn of the loop it comes in; and no later call gets the answer of one that was cancelled."""
    client = make_redis(Settings(redis_url=SecretStr(redis_server)))
    try:
        await client.ping()
        for turns in range(TURNS):
            call = asyncio.ensure_future(client.echo(f"cancelled {turns}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            if call.cancel():
                await asyncio.wait({call})
                assert call.cancelled(), f"after {turns} turns"
            assert await client.echo(f"next {turns}") == f"next {turns}".encode()
    finally:
        await client.aclose()
