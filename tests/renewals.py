"""How often a run asks for its claim, as Redis sees it: what tests count in place of seconds."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from redis.asyncio import Redis

from shared.history.scripts import lua_script

_RENEW = hashlib.sha1(lua_script("renew").encode(), usedforsecurity=False).hexdigest()


@asynccontextmanager
async def renewals_from_now(redis_url: str, subject: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Yield a function: the number of renewals since then of the claims of a chunk, or of all chunks of a job."""
    mark, heard, asked = uuid4().hex, asyncio.Event(), 0
    async with Redis.from_url(redis_url, socket_timeout=None) as redis, redis.monitor() as monitor:

        async def read() -> None:
            nonlocal asked
            async for told in monitor.listen():
                if mark in told["command"]:
                    heard.set()
                asked += _RENEW in told["command"] and subject in told["command"]

        async def so_far() -> int:
            heard.clear()
            await redis.echo(mark)
            hearing = asyncio.create_task(heard.wait())
            await asyncio.wait({hearing, reading}, return_when=asyncio.FIRST_COMPLETED)
            hearing.cancel()
            assert not reading.done(), reading
            return asked

        # Else a first renewal would be asked for twice, since Redis does not know its script yet.
        await redis.script_load(lua_script("renew"))
        reading = asyncio.create_task(read())
        try:
            yield so_far
        finally:
            reading.cancel()
            await asyncio.wait({reading})
