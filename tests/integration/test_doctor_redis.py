"""What `mesh doctor` says of a Redis that answers and refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eldermesh_cli.operate.checks.check import CheckFailed
from eldermesh_cli.operate.checks.servers import redis_answers
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from shared.settings import Settings
from tests.refusing_redis import WAYS, refusing


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    """A server that may be made to refuse."""
    server = EmbeddedRedis(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.mark.parametrize("way", WAYS)
async def test_a_refusal_fails_the_check(way: str, redis: EmbeddedRedis) -> None:
    """However it refuses, also where it still tells of itself; and afterwards it is well."""
    mesh = Mesh(Settings(redis_url=redis.url, _env_file=None), "environment")  # type: ignore[arg-type]  # pydantic reads it
    async with refusing(redis, way):
        with pytest.raises(CheckFailed, match=r"Redis (refuses (writes|the user of MESH_REDIS_URL)|does not answer): "):
            await redis_answers(mesh)
    assert (await redis_answers(mesh)).hint is None
