"""A broker that stops or starts closes connections as one does that refuses a client: it refuses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.client import AIOKafkaClient

from eldermesh.kafka.refusal import refusal


@asynccontextmanager
async def closing_first(broker: str, number: int) -> AsyncIterator[str]:
    """The address of a proxy that closes its first `number` connections at once."""
    host, _, port = broker.rpartition(":")
    left = number
    passing: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65536):
            writer.write(block)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            writer.close()
            return
        there, back = await asyncio.open_connection(host, int(port))
        passing.update({asyncio.create_task(copy(reader, back)), asyncio.create_task(copy(there, writer))})

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*passing), timeout=10)
        await asyncio.wait_for(server.wait_closed(), timeout=10)


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_a_broker_that_comes_up_refuses_nobody(embedded_broker: str, number: int) -> None:
    """Whichever of the questions it was not there for."""
    async with closing_first(embedded_broker, number) as address:
        assert await refusal(AIOKafkaClient(bootstrap_servers=address)) is None
