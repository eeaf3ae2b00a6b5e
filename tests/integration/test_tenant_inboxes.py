"""Inboxes of tenants on real brokers: each tenant has its own jobs, and costs nobody else theirs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from eldermesh.client import Client
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.ids import job_id_from_key
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.tenants import inbox_of_tenant
from eldermesh_cli.audit.job_ledger import audit
from services.router.admission.commands import JobAdmission
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.health.parts import ROUTER
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS_DEAD, JOBS_HISTORY, TOPICS, router_inboxes
from shared.settings import Settings
from shared.workloads import WorkloadRegistry
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.inboxes import Sent, publish, read_all
from tests.malformed import job, malformed
from tests.mesh_services import mesh_services
from tests.public_topics import assert_invariants
from tests.unit.cli.command_line import Ran, run_here
from tests.waiting import wait_until

TENANTS: Final = ("search", "ads")
WAIT_SECONDS: Final = 120.0
ROOTS: Final[dict[str, Any]] = {"workload": "python", "items": [4, 9], "options": {"function": "math:sqrt"}}


def _client(settings: Settings, tenant: str) -> Client:
    return Client(settings.kafka_bootstrap, settings.topic_prefix, tenant=tenant)


async def _records(settings: Settings, topic: str, count: int) -> list[PublicRecord]:
    """The records of a topic, once there are so many."""

    async def enough() -> list[PublicRecord]:
        records = await read_all(settings, topic)
        return records if len(records) >= count else []

    return await wait_until(
        enough, description=f"{count} records on {topic}", timeout_seconds=WAIT_SECONDS, interval_seconds=0.2
    )


async def _letters(settings: Settings, count: int) -> dict[str, PublicRecord]:
    """Dead letters by their reasons."""
    letters = await _records(settings, JOBS_DEAD, count)
    return {DeadLetterHeaders.decode(letter.headers).reason: letter for letter in letters}


async def test_verbs_of_a_tenant(embedded_broker: str, tmp_path: Path) -> None:
    """With `MESH_SUBMIT_TENANT` they write to its inbox; a job of another is refused before anything is sent."""
    async with mesh_services(embedded_broker, "embedded", tmp_path, start=False, tenants=TENANTS) as mesh:
        await mesh.router.bring_up()
        environment = mesh.settings.environment() | {"MESH_SUBMIT_TENANT": "search"}

        async def run(*arguments: str) -> Ran:
            return await asyncio.to_thread(run_here, (*arguments, "--json"), environment)

        submit = ("submit", "python", "--function", "math:sqrt", "4", "--idempotency-key", "k")
        sent = (await run(*submit)).answer("mesh-submit")
        assert (sent["job_id"], sent["state"]) == (job_id_from_key("search", "k"), "accepted")
        assert (await run(*submit, "--tenant", "search")).answer("mesh-submit")["job_id"] == sent["job_id"]
        assert len(await read_all(mesh.settings, "jobs.search")) == 2
        refused = await run(*submit, "--tenant", "ads")
        assert refused.status == 2
        assert "the job is of ads, and goes to the inbox of search" in refused.error()["message"]
        environment["MESH_SUBMIT_TENANT"] = "ads"
        refused = await run("cancel", sent["job_id"])
        assert refused.status == 4
        assert "is of tenant search, and this shell speaks for ads" in refused.error()["message"]
        environment["MESH_SUBMIT_TENANT"] = "search"
        cancelled = (await run("cancel", sent["job_id"])).answer("mesh-cancel")
        assert (cancelled["state"], cancelled["changed"]) == ("cancelled", True)
        checks = (await run("doctor")).answer("mesh-doctor")["checks"]
        assert f"{len(TOPICS) + 2} topics" in next(each["detail"] for each in checks if each["name"] == "topics")


async def test_a_router_that_does_not_read_an_inbox_is_not_healthy(any_broker: AnyBroker, tmp_path: Path) -> None:
    """The check names the group of a tenant that the settings have and the running router does not know."""
    async with mesh_services(any_broker.bootstrap, any_broker.profile, tmp_path, start=False, tenants=TENANTS) as mesh:
        await mesh.router.bring_up()
        await wait_until(
            lambda: _healthy(mesh.settings), description="the router is healthy", timeout_seconds=WAIT_SECONDS
        )
        more = mesh.settings.model_copy(update={"tenants": (*TENANTS, "maps")})
        assert "eldermesh.admission.tenant.maps is not settled" in (await ROUTER.trouble(more) or "")


async def _healthy(settings: Settings) -> bool:
    return await ROUTER.trouble(settings) is None


async def _in_history(settings: Settings, *job_ids: str) -> None:
    """Wait until a command of each of these jobs is a fact."""

    async def there() -> bool:
        return {record.key_text() for record in await read_all(settings, JOBS_HISTORY)} >= set(job_ids)

    await wait_until(there, description=f"facts of {job_ids}", timeout_seconds=WAIT_SECONDS, interval_seconds=0.2)


async def test_a_tenant_has_its_own_jobs_and_no_others(any_broker: AnyBroker, tmp_path: Path) -> None:
    """A router without workers: jobs go on until somebody ends them, and only their own tenant can.

    What another tenant sends is a dead letter, or nothing. The ledger of `mesh audit` has all inboxes in it.
    """
    unknown, early = str(uuid4()), str(uuid4())
    async with mesh_services(any_broker.bootstrap, any_broker.profile, tmp_path, start=False, tenants=TENANTS) as mesh:
        await mesh.router.bring_up()
        settings = mesh.settings
        async with _client(settings, "search") as search, _client(settings, "ads") as ads:
            theirs = await ads.submit(**ROOTS)
            assert theirs.topic == settings.topic("jobs.ads")
            await _in_history(settings, theirs.job_id)
            await search.cancel(theirs.job_id, "not mine")
            letters = await _letters(settings, 1)
            refused = letters[f"job {theirs.job_id} is not of tenant search, whose inbox this is"]
            assert json.loads(refused.value or b"") == {"job_id": theirs.job_id, "reason": "not mine"}

            await search.cancel(unknown, "before the submit of another")
            await search.cancel(early, "before my own")
            await _in_history(settings, unknown, early)
            also_theirs = await ads.submit(job_id=unknown, **ROOTS)
            mine = await search.submit(job_id=early, **ROOTS)
            end = await search.wait(mine.job_id, WAIT_SECONDS)
            assert (end.status, end.tenant, end.reason) == ("cancelled", "search", "before my own")

            await publish(settings, "jobs.search", [Sent(job(tenant="ads"))])
            assert "tenant: this inbox is for tenant search only" in await _letters(settings, 2)

            for sent in (theirs, also_theirs):
                await ads.cancel(sent.job_id, "enough")
                end = await ads.wait(sent.job_id, WAIT_SECONDS)
                assert (end.status, end.tenant, end.reason) == ("cancelled", "ads", "enough")
        jobs = [theirs.job_id, also_theirs.job_id, mine.job_id]
        await assert_invariants(settings.kafka_bootstrap, settings.topic_prefix, expect_jobs=jobs)
        ledger = await audit(settings, told=lambda _: None)
        assert (ledger.accepted, ledger.ended, ledger.missing, ledger.breaches) == (3, 3, 0, [])


@asynccontextmanager
async def _admitting(settings: Settings) -> AsyncIterator[InboxConsumer]:
    """Admission of all inboxes, as the router has it."""
    producer = make_producer(settings)
    await producer.start()
    workloads = WorkloadRegistry.installed()
    tenants = {inbox_of_tenant(tenant): tenant for tenant in settings.tenants}
    subscriptions = [
        Subscription(name, group, JobAdmission(settings, producer, workloads, tenant_of_inbox=tenants.get(name)))
        for name, group in router_inboxes(settings.tenants).items()
    ]
    consumer = InboxConsumer(settings, subscriptions, producer)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
        await producer.stop()


async def test_bad_records_of_a_tenant_cost_only_themselves(any_broker: AnyBroker) -> None:
    """Over a hundred of them between good jobs: a fact for each good one, a dead letter for each other."""
    bad = [each.sent for each in malformed()]
    good = [str(uuid4()) for _ in bad]
    between = (Sent(job(job_id=each)) for each in good)
    async with fresh_topics(*any_broker, tenants=TENANTS) as settings:
        await publish(settings, "jobs.search", [sent for pair in zip(between, bad, strict=True) for sent in pair])
        async with _admitting(settings) as consumer:
            letters = await _records(settings, JOBS_DEAD, len(bad))
            await _in_history(settings, *good)
            assert consumer.is_alive()
        assert len(letters) == len(bad) >= 100
        origins = {DeadLetterHeaders.decode(letter.headers).topic for letter in letters}
        assert origins == {settings.topic("jobs.search")}


async def test_the_flood_of_a_tenant_does_not_hold_up_another(any_broker: AnyBroker) -> None:
    """Each inbox is read beside the others: the one job of a tenant is accepted while the flood still comes in."""
    flood = 2000
    job_id = str(uuid4())
    async with fresh_topics(*any_broker, tenants=TENANTS, partitions=1) as settings:
        await publish(settings, "jobs.search", (Sent(job(job_id=str(uuid4()))) for _ in range(flood)))
        await publish(settings, "jobs.ads", [Sent(job(job_id=job_id))])
        async with _admitting(settings):
            facts = await _records(settings, JOBS_HISTORY, flood + 1)
        places = {record.key_text(): record.offset for record in facts}
        assert places[job_id] < flood / 2
