"""`kill -9` of a worker with CLIs running, of the router, of `claude_exec`, on Apache Kafka: everything ends once.

`MESH_TEST_PROMPTS=300` makes the jobs as large as those of the other engines; a prompt takes about half a second.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import psutil
import pytest

from eldermesh.client import Client
from eldermesh.contract.commands import JobSubmit
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.service import Service
from services.claude_exec.cli.run_directory import runs_path
from tests.integration.claude.asking import asking
from tests.integration.item_pids import all_gone
from tests.mesh_services import mesh_services
from tests.public_topics import assert_invariants
from tests.waiting import wait_until

PROMPTS = int(os.environ.get("MESH_TEST_PROMPTS", "24"))
WAIT_SECONDS = 300.0 + 2 * PROMPTS

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.timeout(round(600 + WAIT_SECONDS))]


def clis_of(service: Service) -> list[ProcessIdentity]:
    """The Claude CLIs that run below a service now."""
    assert service.pid is not None
    found: list[ProcessIdentity] = []
    for process in psutil.Process(service.pid).children(recursive=True):
        try:
            if Path(process.exe()).name == "claude" and (identity := ProcessIdentity.of(process.pid)) is not None:
                found.append(identity)
        except psutil.Error:
            continue
    return found


async def kill_with_clis(service: Service) -> None:
    """SIGKILL while a CLI runs: the CLIs go, too; then start it again."""
    clis: Sequence[ProcessIdentity] = await wait_until(lambda: clis_of(service), description="a CLI runs")
    assert service.pid is not None
    os.kill(service.pid, signal.SIGKILL)
    await all_gone(clis)
    await service.wait()
    await service.bring_up()


async def test_worker_and_router_are_killed(apache_kafka: str, loopback_url: str, tmp_path: Path) -> None:
    """The worker twice with CLIs running, the router once: each prompt has one result, the job one end."""
    async with (
        mesh_services(
            apache_kafka,
            "kafka",
            tmp_path,
            anthropic_base_url=loopback_url,
            lease_seconds=5.0,
            heartbeat_seconds=0.5,
            claim_timeout_seconds=15.0,
            group_session_seconds=6.0,
        ) as mesh,
        Client(apache_kafka, mesh.settings.topic_prefix) as client,
    ):

        async def kill_router() -> None:
            mesh.router.kill()
            await mesh.router.bring_up()

        faults: list[Callable[[], Awaitable[None]]] = [
            lambda: kill_with_clis(mesh.worker),
            kill_router,
            lambda: kill_with_clis(mesh.worker),
        ]
        prompts = [f"[[reply {number}]]" for number in range(PROMPTS)]
        submitted = await client.submit(JobSubmit.model_validate({"workload": "claude", "items": prompts}))
        next_fault_at = PROMPTS // 6
        async for progress in client.progress(submitted.job_id, timeout_seconds=WAIT_SECONDS):
            if progress.items_ended >= next_fault_at and faults:
                await faults.pop(0)()
                next_fault_at = progress.items_ended + PROMPTS // 6
        assert not faults, "the job was over before every fault"
        end = await client.wait(submitted.job_id, WAIT_SECONDS)
        assert (end.status, end.items_succeeded) == ("completed", PROMPTS)
        outputs = [result.output async for result in client.results(submitted.job_id)]
        assert outputs == [str(number) for number in range(PROMPTS)]
        await assert_invariants(apache_kafka, mesh.settings.topic_prefix, expect_jobs={submitted.job_id})
        await wait_until(lambda: not clis_of(mesh.worker), description="no CLI is left")
        await wait_until(lambda: not list(runs_path(mesh.settings).iterdir()), description="no directory is left")


async def test_claude_exec_is_killed(apache_kafka: str, redis_server: str, loopback_url: str, tmp_path: Path) -> None:
    """Prompts on their own, the service killed twice with CLIs running: each ends in one way, with its own answer."""
    async with asking(apache_kafka, redis_server, loopback_url, tmp_path, profile="kafka") as mesh:
        requests = [await mesh.ask(f"[[reply {number}]]") for number in range(PROMPTS)]
        await kill_with_clis(mesh.service)
        await mesh.end(requests[0])
        await kill_with_clis(mesh.service)
        ends = [await mesh.end(request_id) for request_id in requests]
        assert [(end.status, end.result) for end in ends] == [("completed", str(number)) for number in range(PROMPTS)]
        await wait_until(lambda: not clis_of(mesh.service), description="no CLI is left")
        for request_id, end in zip(requests, ends, strict=True):
            told = await mesh.ends(request_id)
            # A service that is killed between an end and its mark publishes the end again, the same.
            assert told == [end] * len(told)
    assert mesh.left_directories() == []
