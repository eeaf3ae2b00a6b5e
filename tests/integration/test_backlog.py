"""A backlog of one tenant, on real parts: people and other tenants do not wait for it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from shared.facts.jobs import ItemsCompleted, JobRouted, decode_job_fact
from shared.kafka.topics import JOBS, JOBS_DONE, JOBS_HISTORY
from shared.settings import Settings
from tests.inboxes import Sent, publish, read_all
from tests.mesh_services import mesh_services
from tests.waiting import wait_until

_BACKLOG = 60
_WAIT_SECONDS = 120.0


def _job(**fields: Any) -> tuple[str, Sent]:
    job_id = str(uuid4())
    job = {"job_id": job_id, "workload": "python", "items": [4], "options": {"function": "math:sqrt"}} | fields
    return job_id, Sent(orjson.dumps(job))


async def _all_routed(settings: Settings, job_ids: Collection[str]) -> None:
    async def routed() -> bool:
        facts = await read_all(settings, JOBS_HISTORY)
        of_routed = {(fact.key or b"").decode() for fact in facts if fact.header("ce_type") == JobRouted.fact_type}
        return set(job_ids) <= of_routed

    await wait_until(routed, description="all jobs are routed", timeout_seconds=_WAIT_SECONDS, interval_seconds=0.2)


async def _in_order_of_claims(settings: Settings, job_ids: Collection[str]) -> list[str]:
    """The jobs, once all have ended, in the order in which runners claimed their chunks."""

    async def ended() -> bool:
        ends = {(end.key or b"").decode() for end in await read_all(settings, JOBS_DONE)}
        return set(job_ids) <= ends

    await wait_until(ended, description="all jobs end", timeout_seconds=_WAIT_SECONDS, interval_seconds=0.2)
    claimed_at: dict[str, int] = {}
    for record in await read_all(settings, JOBS_HISTORY):
        if record.header("ce_type") == ItemsCompleted.fact_type:
            fact = decode_job_fact(ItemsCompleted.fact_type, record.value or b"")
            assert isinstance(fact, ItemsCompleted)
            assert fact.times is not None
            claimed_at[(record.key or b"").decode()] = fact.times.claimed_at
    assert claimed_at.keys() == set(job_ids)
    return sorted(claimed_at, key=lambda job_id: claimed_at[job_id])


async def test_others_run_before_most_of_a_backlog(embedded_broker: str, tmp_path: Path) -> None:
    """It came first, and blocks all slots; then an interactive job comes, and a normal one of another tenant.

    Of the ends the order would say less: an item host of the other tenant has to start, while the other slot goes on.
    """
    functions = ("math:*", "tests.integration.item_functions:until_let_go")
    gate = tmp_path / "gate"
    blocking = {"tenant": "crowd", "items": [str(gate)], "options": {"function": functions[1]}}
    async with mesh_services(
        embedded_broker, "embedded", tmp_path, partitions=1, python_functions=functions, advise_seconds=0.0
    ) as mesh:
        crowd = dict(_job(**blocking) for _ in range(_BACKLOG))
        await publish(mesh.settings, JOBS, crowd.values())
        await _all_routed(mesh.settings, crowd)
        await wait_until(gate.exists, description="a slot is blocked", timeout_seconds=_WAIT_SECONDS)
        person, from_person = _job(tenant="crowd", priority="interactive")
        other, from_other = _job(tenant="other")
        await publish(mesh.settings, JOBS, [from_person, from_other])
        await _all_routed(mesh.settings, [person, other])
        gate.with_suffix(".go").touch()
        order = await _in_order_of_claims(mesh.settings, [*crowd, person, other])
    assert order.index(person) < _BACKLOG / 4
    assert order.index(other) < _BACKLOG / 4
