"""A mesh for one test: topics of its own, a Redis of its own, and router and worker as real processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from eldermesh.client.errors import ClientError
from eldermesh_cli.stack.servers.mesh_services import notifier_service, router_service, sages_service, worker_service
from eldermesh_cli.stack.servers.redis import EmbeddedRedis
from eldermesh_cli.stack.service import Service
from shared.settings import Settings
from tests.fresh_topics import Profile, fresh_topics
from tests.mesh_diagnosis import diagnosis


@dataclass(frozen=True, slots=True)
class MeshServices:
    """The processes of a mesh, to be killed and started again."""

    settings: Settings
    redis: EmbeddedRedis
    router: Service
    worker: Service
    log_dir: Path

    def people(self) -> tuple[Service, Service]:
        """Sages and notifier of the same mesh, not started; whoever starts them stops them."""
        specs = (sages_service(self.settings), notifier_service(self.settings))
        sages, notifier = (Service(spec, log_dir=self.log_dir) for spec in specs)
        return sages, notifier

    def another_router(self) -> Service:
        """A second router of the same mesh, not started."""
        spec = replace(router_service(self.settings), name="router-2")
        return Service(spec, log_dir=self.log_dir)


@asynccontextmanager
async def mesh_services(
    bootstrap: str,
    profile: Profile,
    directory: Path,
    *,
    start: bool = True,
    append_only: bool = False,
    **overrides: Any,
) -> AsyncIterator[MeshServices]:
    """Run a mesh on a broker that is there; nothing of it is left afterwards."""
    redis = EmbeddedRedis(directory, append_only=append_only)
    await redis.start()
    try:
        values = {
            "data_dir": directory,
            "redis_url": SecretStr(redis.url),
            "slots": 2,
        } | overrides
        async with fresh_topics(bootstrap, profile, **values) as settings:
            log_dir = directory / "logs"
            router = Service(router_service(settings), log_dir=log_dir)
            worker = Service(worker_service(settings), log_dir=log_dir)
            services = MeshServices(settings, redis, router, worker, log_dir)
            try:
                if start:
                    async with asyncio.TaskGroup() as starting:
                        starting.create_task(router.bring_up())
                        starting.create_task(worker.bring_up())
                yield services
            except (AssertionError, ClientError) as error:
                error.add_note(await diagnosis(settings, [redis.service, router, worker]))
                raise
            finally:
                async with asyncio.TaskGroup() as stopping:
                    stopping.create_task(worker.shut_down())
                    stopping.create_task(router.shut_down())
    finally:
        await redis.stop()
