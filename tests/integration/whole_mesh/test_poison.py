"""Poison records among 200 good ones, on a whole mesh."""

from __future__ import annotations

import asyncio
import json

from eldermesh.contract.deadletters import DeadLetterHeaders
from shared.kafka.topics import CLAUDE_REQUESTS, JOBS, JOBS_DEAD, JOBS_DONE
from shared.settings import Settings
from tests.inboxes import publish, read_all
from tests.integration.test_poison import GOOD, id_of, job_records, mix, request_records
from tests.mesh import RunningMesh
from tests.poison import OPTIONS
from tests.waiting import wait_until


async def test_on_a_whole_mesh(running_mesh: RunningMesh) -> None:
    """The good jobs end, each poison is a dead letter, and nothing of the mesh is restarted."""
    before = await asyncio.to_thread(_restarts, running_mesh)
    settings = running_mesh.settings
    letters_before = len(await _letters(settings))
    poison = [each for each in job_records()[1] if b"claude" in (each.value or b"")][-len(OPTIONS) :]
    requests = request_records()[1]
    await publish(settings, CLAUDE_REQUESTS, requests)
    await publish(settings, JOBS, mix(job_records()[0], poison))
    ids = {id_of(number) for number in range(GOOD)}

    async def ended() -> bool:
        return ids <= {each.key_text() for each in await read_all(settings, JOBS_DONE)}

    async def told() -> bool:
        return len(await _letters(settings)) - letters_before >= len(poison) + len(requests)

    await wait_until(ended, description="all good jobs have ended", timeout_seconds=300, interval_seconds=1)
    await wait_until(told, description="each poison is a dead letter", timeout_seconds=60, interval_seconds=1)
    assert await asyncio.to_thread(_restarts, running_mesh) == before


async def _letters(settings: Settings) -> set[tuple[str, int, int]]:
    letters = [DeadLetterHeaders.decode(each.headers) for each in await read_all(settings, JOBS_DEAD)]
    return {(each.topic, each.partition, each.offset) for each in letters}


def _restarts(mesh: RunningMesh) -> dict[str, int]:
    said = mesh.run("ps", "--json")
    assert said.returncode == 0, said.stderr
    return {each["name"]: each["restarts_total"] for each in json.loads(said.stdout)["processes"]}
