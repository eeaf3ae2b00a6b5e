"""An item that keeps the interpreter for longer than two leases, on whole services with the default times."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.results import JobProgress
from eldermesh_cli.stack.service import Service
from tests.fresh_topics import AnyBroker
from tests.mesh_services import mesh_services
from tests.public_topics import assert_invariants
from tests.renewals import renewals_from_now
from tests.waiting import wait_until

FUNCTION = "tests.integration.item_functions:hold_the_interpreter"
ITEM_SECONDS = 40.0
WAIT_SECONDS = 300.0


def _item_hosts(worker: Service) -> list[psutil.Process]:
    assert worker.pid is not None
    family = psutil.Process(worker.pid).children(recursive=True)
    return [process for process in family if any("item_host" in argument for argument in process.cmdline())]


@pytest.mark.slow
async def test_a_cpu_bound_item_keeps_its_claim_and_is_stopped_by_a_cancel(
    embedded_broker: str, tmp_path: Path
) -> None:
    """Forty seconds without the interpreter's lock, no second attempt; then a cancel ends one at its next heartbeat."""
    broker = AnyBroker(embedded_broker, "embedded")
    async with (
        mesh_services(*broker, tmp_path, python_functions=FUNCTION, slots=1) as mesh,
        Client(broker.bootstrap, mesh.settings.topic_prefix) as client,
    ):
        job = JobSubmit(workload="python", items=[ITEM_SECONDS, 3600], options={"function": FUNCTION})
        submitted = await client.submit(job)
        first: JobProgress | None = None
        async for progress in client.progress(submitted.job_id):
            first = progress
            break
        assert first is not None
        (result,) = first.results
        assert (result.item_index, result.status, result.attempt, first.epoch) == (0, "succeeded", 1, 1)
        assert isinstance(result.output, float)
        assert result.output >= ITEM_SECONDS > 2 * mesh.settings.lease_seconds

        hosts = _item_hosts(mesh.worker)
        assert hosts
        async with renewals_from_now(mesh.redis.url, submitted.job_id) as renewals:
            await wait_until(renewals, description="the second item's claim is renewed")
        await client.cancel(submitted.job_id)
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded, end.items_not_run) == ("cancelled", 1, 1)
        # The end is published once runs can learn of it: from then on the first heartbeat is the last.
        async with renewals_from_now(mesh.redis.url, submitted.job_id) as renewals:
            await wait_until(
                lambda: not any(host.is_running() for host in hosts), description="no process of the job runs"
            )
            assert await renewals() <= 1
        await assert_invariants(broker.bootstrap, mesh.settings.topic_prefix, expect_jobs={submitted.job_id})
