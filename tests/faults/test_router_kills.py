"""Routers killed with timers that are overdue when the next one starts: holds, pauses, advice. Every job ends.

`MESH_TEST_ROUTER_KILLS` says how many of them on each broker; a full trial takes 30.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from pydantic import JsonValue

from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from services.router.jobs import clock
from services.router.read_model.lookup import JobLookup
from shared.facts.jobs import AdviceEntry, JobAdvised, JobHeld, JobPaused
from shared.kafka.topics import JOBS_HISTORY
from tests.fresh_topics import AnyBroker
from tests.held_jobs import history_writer
from tests.integration.seeded_mesh import SeededMesh
from tests.mesh_services import MeshServices, mesh_services
from tests.public_topics import assert_invariants
from tests.waiting import wait_until

KILLS = int(os.environ.get("MESH_TEST_ROUTER_KILLS", "2"))
WAIT_SECONDS = 300.0
SOON_MS = 6000
ATTEMPTS = 5
LATER_MS = 120_000


@dataclass
class Trial:
    """One mesh whose router is killed again and again; `expected` says how each job is to end."""

    mesh: MeshServices
    client: Client
    writer: SeededMesh
    expected: dict[str, str] = field(default_factory=dict)

    async def kill_with_overdue_timers(self) -> None:
        """A job waits for advice, one is held, one is paused; no router lives when the time of each is over."""
        for _ in range(ATTEMPTS):
            asked, held, paused = await self._asked(), await self._held(), await self._paused()
            waits = {asked: clock.ADVISE, held: clock.HOLD, paused: clock.PAUSE}
            dues = [await self._due(job_id, name) for job_id, name in waits.items()]
            if min(dues) > _now_ms():
                break
        else:
            raise AssertionError("on this machine timers run out before they can be looked at")
        assert self.mesh.router.pid is not None
        os.kill(self.mesh.router.pid, signal.SIGKILL)
        await self.mesh.router.wait()
        # Something to fold stands behind the timers.
        await self._append(asked, JobAdvised(entries=(AdviceEntry(sage="rag", status="ok"),)))
        await wait_until(lambda: _now_ms() > max(dues), description="every timer is overdue")
        await self.mesh.router.bring_up()

    async def _asked(self) -> str:
        return await self._accepted(advise_within_ms=SOON_MS, status="completed")

    async def _held(self) -> str:
        job_id = await self._accepted(advise_within_ms=LATER_MS, status="rejected")
        await self._append(job_id, JobHeld(n=0, reason="may write files", until=_now_ms() + SOON_MS))
        return job_id

    async def _paused(self) -> str:
        job_id = await self._accepted(advise_within_ms=LATER_MS, status="completed")
        await self._append(job_id, JobPaused(reason="quota", until=_now_ms() + SOON_MS))
        await self._append(job_id, JobAdvised(entries=(AdviceEntry(sage="rag", status="ok"),)))
        return job_id

    async def _accepted(self, *, advise_within_ms: int, status: str) -> str:
        job_id = str(uuid4())
        submit = {"workload": "python", "options": {"function": "math:sqrt"}, "items": [4, 9]}
        at = _now_ms() - self.writer.began_ms
        await self.writer.accept(job_id, submit, at=at, advise_within_ms=advise_within_ms)
        self.expected[job_id] = status
        return job_id

    async def _append(self, job_id: str, fact: JobAdvised | JobHeld | JobPaused) -> None:
        await self.writer.append(job_id, (_now_ms() - self.writer.began_ms, fact))

    async def _due(self, job_id: str, name: str) -> int:
        """When a job's timer comes due, once its owner has armed it; -1 if that is over already."""
        settings = self.mesh.settings
        lookup = JobLookup(self.writer.redis, settings.topic(JOBS_HISTORY), settings.partition_count)

        async def look() -> int | None:
            state = await lookup.state(job_id)
            if state is not None and not state.is_live:
                return -1  # its timer has ended it, and an end takes the armings along
            if state is None or name not in state.armings:
                return None
            return state.timers[name].due if name in state.timers else -1

        return await wait_until(look, description=f"{job_id} has its timer {name}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_overdue_at_the_restart(any_broker: AnyBroker, tmp_path: Path) -> None:
    """Each router that starts again owns its partitions; a job that ran all the while ends as well."""
    bootstrap, profile = any_broker
    async with (
        mesh_services(
            bootstrap,
            profile,
            tmp_path,
            python_functions="time:sleep,math:*",
            partitions=2,
            group_session_seconds=6.0 if profile == "kafka" else None,
        ) as mesh,
        Client(bootstrap, mesh.settings.topic_prefix) as client,
        history_writer(mesh.settings) as writer,
    ):
        trial = Trial(mesh, client, writer)
        items: list[JsonValue] = [*[0.05] * (200 * KILLS)]
        running = await client.submit(JobSubmit(workload="python", items=items, options={"function": "time:sleep"}))
        trial.expected[running.job_id] = "completed"
        for _ in range(KILLS):
            await trial.kill_with_overdue_timers()
        for job_id, status in trial.expected.items():
            end = await client.wait(job_id, WAIT_SECONDS)
            assert end.status == status, job_id
        await assert_invariants(bootstrap, mesh.settings.topic_prefix, expect_jobs=set(trial.expected))
