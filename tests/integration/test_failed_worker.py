"""A Celery worker that can take no more tasks ends, and soon: only then does its supervisor start another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.router.engines.celery.queue import CeleryDispatcher
from shared.facts.jobs import ChunkInterrupted
from tests.integration.chunk_running import runner_settings
from tests.integration.item_pids import all_gone
from tests.integration.played_owner import played_owner
from tests.integration.worker_process import running_worker
from tests.waiting import wait_until


@pytest.mark.slow
async def test_it_does_not_wait_for_what_runs(embedded_broker: str, redis_server: str, tmp_path: Path) -> None:
    """The run is interrupted, which is no death of its chunk, and no process is left."""
    async with runner_settings(embedded_broker, redis_server, tmp_path, slots=2) as settings:
        dispatcher = CeleryDispatcher(settings)
        async with played_owner(settings) as owner:
            (task,) = await owner.plan([600.0], "sleep")
            with running_worker(settings, tmp_path, module="tests.integration.failing_worker_program") as worker:
                await worker.ready()
                await dispatcher.dispatch([task], queue="batch_tasks", priority=3)

                async def runs() -> bool:
                    return await owner.claim(task) == "held"

                await wait_until(runs, description="the chunk runs")
                family = worker.family()
                (tmp_path / "fail").touch()
                await wait_until(lambda: worker.process.poll() is not None, description="the worker has ended")
                assert worker.process.poll() == 1
                await all_gone(family)
            assert not worker.ready_file.exists()
            assert [type(fact) for _, fact in await owner.facts(task)] == [ChunkInterrupted]
        await dispatcher.close()
