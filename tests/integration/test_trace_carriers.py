"""Losing the trace's context in any one place is noticed, and never harms the job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from eldermesh.client import Client
from eldermesh.contract.ids import trace_id_of
from eldermesh.launch import python_command
from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.servers.free_ports import free_port
from eldermesh_cli.stack.service import Service, ServiceSpec
from services.router.read_model.lookup import JobLookup
from shared.kafka.topics import JOBS_HISTORY
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.integration.test_path import WAIT_SECONDS, square_roots
from tests.integration.trace_carriers import CARRIERS, STATE, Carrier
from tests.job_traces import assert_traced, received_spans, whole_trace
from tests.mesh_services import mesh_services
from tests.trace_edges import EDGES, PUBLISHER_EDGES, Edge
from tests.tracing_process import traced_process
from tests.waiting import wait_until

FUNCTIONS = "math:*,time:sleep"
PUBLISHED = [*PUBLISHER_EDGES, *EDGES]

pytestmark = pytest.mark.slow


def losing(service: Service, module: str) -> Service:
    """The same service, but it loses the carriers of the jobs that ask for it."""
    command = python_command("tests.integration.trace_carriers", module)
    return Service(replace(service.spec, command=command), log_dir=service.log_path.parent)


@asynccontextmanager
async def receiver(directory: Path) -> AsyncIterator[str]:
    """The real telemetry receiver, as a process; its address."""
    port = free_port()

    async def listens() -> None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            raise NotReadyError(str(error)) from error
        writer.close()
        await writer.wait_closed()

    arguments = ("--port", str(port), "--db", str(directory / "spans.sqlite"))
    command = python_command("eldermesh_cli.stack.telemetry.receiver", *arguments)
    service = Service(ServiceSpec(name="telemetry", command=command, ready=listens), log_dir=directory / "logs")
    await service.bring_up()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await service.shut_down()


class LosingMesh:
    """Settings of the mesh, and its router, which can be started anew."""

    def __init__(self, settings: Settings, router: Service) -> None:
        self.settings = settings
        self.router = router


@asynccontextmanager
async def losing_mesh(bootstrap: str, directory: Path) -> AsyncIterator[LosingMesh]:
    """A mesh that loses carriers. One slot: spans of one job arrive before those of a later one."""
    async with (
        receiver(directory) as url,
        mesh_services(
            *(bootstrap, "embedded", directory),
            start=False,
            otlp_endpoint=url,
            trace_query_url=url,
            slots=1,
            python_functions=FUNCTIONS,
        ) as mesh,
    ):
        router = losing(mesh.router, "services.router")
        worker = losing(mesh.worker, "services.router.engines.celery.worker")
        try:
            await asyncio.gather(router.bring_up(), worker.bring_up())
            yield LosingMesh(mesh.settings, router)
        finally:
            await asyncio.gather(worker.shut_down(), router.shut_down())


@pytest.fixture(scope="module")
def mesh(embedded_broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LosingMesh]:
    """One mesh for all carriers."""
    running = losing_mesh(embedded_broker, tmp_path_factory.mktemp("mesh"))
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        mesh = runner.run(running.__aenter__())
        try:
            yield mesh
        finally:
            runner.run(running.__aexit__(None, None, None))


@pytest.fixture
async def client(mesh: LosingMesh) -> AsyncIterator[Client]:
    """A client whose process is traced."""
    with traced_process(mesh.settings):
        async with Client(mesh.settings.kafka_bootstrap, mesh.settings.topic_prefix) as client:
            yield client


async def assert_lost(mesh: LosingMesh, carrier: Carrier, trace_id: str, whole: str, edges: list[Edge]) -> None:
    """Fail unless the check says that the carrier was lost.

    `whole` is the trace of a job that ended later: when all of that one is there, all there will be of the other is.
    """
    await whole_trace(mesh.settings, whole, edges, items_total=1)
    with pytest.raises(AssertionError, match=carrier.then):
        await assert_traced(mesh.settings, carrier.job_id, trace_id, edges)


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda carrier: carrier.name)
async def test_a_lost_carrier_is_noticed(mesh: LosingMesh, client: Client, carrier: Carrier) -> None:
    """One carrier dropped: the job completes, and the check of its trace fails for that; the job after it is whole."""
    submitted = await client.submit(square_roots([4.0], job_id=carrier.job_id))
    end = await client.wait(carrier.job_id, WAIT_SECONDS)
    assert (end.status, end.items_succeeded) == ("completed", 1)
    after = await client.submit(square_roots([4.0]))
    await client.wait(after.job_id, WAIT_SECONDS)
    await assert_lost(mesh, carrier, submitted.trace_id, after.trace_id, PUBLISHED)
    await assert_traced(mesh.settings, after.job_id, after.trace_id, PUBLISHED)


async def test_without_the_headers_of_the_submit_the_trace_is_that_of_the_id(mesh: LosingMesh, client: Client) -> None:
    """What is lost at the very beginning begins again: all that follows is one trace, found from the job's id."""
    job_id = CARRIERS[0].job_id
    await client.submit(square_roots([4.0], job_id=job_id))
    end = await client.wait(job_id, WAIT_SECONDS)
    assert end.trace_id == trace_id_of(job_id)
    await whole_trace(mesh.settings, end.trace_id, items_total=1)
    await assert_traced(mesh.settings, job_id, end.trace_id)
    assert "send jobs" not in {span.name for span in await received_spans(mesh.settings, end.trace_id)}


async def test_a_lost_state_is_noticed(mesh: LosingMesh, client: Client) -> None:
    """The router is started anew while two jobs run: what it knows of their traces comes from the state in Redis."""
    sleep = {"function": "time:sleep"}
    submitted = await client.submit(square_roots([10.0], options=sleep, job_id=STATE.job_id))
    after = await client.submit(square_roots([0.1], options=sleep))
    async with aclosing(make_redis(mesh.settings)) as redis:
        lookup = JobLookup(redis, mesh.settings.topic(JOBS_HISTORY), mesh.settings.partition_count)
        for job_id in (submitted.job_id, after.job_id):
            await wait_until(partial(lookup.state, job_id), description="Redis knows the job")
    await mesh.router.shut_down()
    await mesh.router.bring_up()
    for job_id in (submitted.job_id, after.job_id):
        assert (await client.wait(job_id, WAIT_SECONDS)).status == "completed"
    await assert_lost(mesh, STATE, submitted.trace_id, after.trace_id, PUBLISHED)
    await assert_traced(mesh.settings, after.job_id, after.trace_id, PUBLISHED)
