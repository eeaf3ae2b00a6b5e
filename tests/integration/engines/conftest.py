"""What tests of engines share: settings, an owner that is played, the router's side of Celery, a runner of chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.router.engines.celery.queue import CeleryDispatcher
from services.router.engines.chunks.runner import ChunkRunner
from shared.settings import Settings
from tests.integration.chunk_running import chunk_runner, runner_settings
from tests.integration.played_owner import PlayedOwner, played_owner


@pytest.fixture
async def settings(embedded_broker: str, redis_server: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings with topics and keys of their own and a short lease."""
    async with runner_settings(embedded_broker, redis_server, tmp_path) as made:
        yield made


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[PlayedOwner]:
    """The owner of partition 0."""
    async with played_owner(settings) as played:
        yield played


@pytest.fixture
async def celery(settings: Settings) -> AsyncIterator[CeleryDispatcher]:
    """The router's side."""
    dispatcher = CeleryDispatcher(settings)
    yield dispatcher
    await dispatcher.close()


@pytest.fixture
async def runner(settings: Settings) -> AsyncIterator[ChunkRunner]:
    """A runner as an engine makes it."""
    async with chunk_runner(settings) as made:
        yield made
