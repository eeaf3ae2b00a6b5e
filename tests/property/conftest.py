"""A Redis of their own for the property tests, which wipe and restart it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from eldermesh_cli.stack.servers.redis import EmbeddedRedis


@pytest.fixture(scope="session")
def world_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A started server, empty or not."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("world-redis"))
    with asyncio.Runner() as runner:
        runner.run(server.start())
    yield server
    server.service.kill()
