"""Kafka with TLS, users and ACLs: who may does, who may not is told why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from pydantic import SecretStr

from eldermesh.client import AccessRefusedError, Client, TopicsMissingError
from eldermesh.client.kafka import started_producer
from eldermesh.client.submission import encode
from eldermesh.client.topic_reader import read_public_topics
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.kafka.access import KafkaAccess, KafkaSecurity
from eldermesh.kafka.admin import WholeAdminClient
from eldermesh.kafka.consumer import WholeConsumer
from eldermesh.kafka.errors import KafkaRefusedError, KafkaUnavailableError
from eldermesh.kafka.replacing_producer import OutgoingRecord
from eldermesh_cli.operate.checks.check import CheckFailed
from eldermesh_cli.operate.checks.servers import broker_answers
from eldermesh_cli.program.target_mesh import Mesh
from shared.errors import ConfigurationError
from shared.kafka.clients import make_producer
from shared.kafka.topic_admin import apply_topics
from shared.settings import Settings
from tests.fresh_topics import fresh_settings
from tests.inboxes import read_all
from tests.kafka_server import kafka_missing
from tests.mesh_services import mesh_services
from tests.secure_kafka import SecureKafka, approver_acls, mesh_acls, publisher_acls
from tests.unit.cli.command_line import run_here
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

USERS = ("mesh", "publisher", "approver", "stranger", "ads", "search")
WAIT_SECONDS = 180.0


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A Kafka that knows `USERS`; nobody may do anything yet."""
    missing = kafka_missing()
    if missing is not None:
        pytest.skip(missing)
    server = SecureKafka(tmp_path_factory.mktemp("secure"), USERS)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(server.start())
    yield server
    server.kill()


def _settings(kafka: SecureKafka, user: str, prefix: str) -> Settings:
    return fresh_settings(kafka.secure, "kafka", topic_prefix=prefix, **kafka.login_settings(user))


async def _with_topics(kafka: SecureKafka) -> str:
    """A fresh prefix with all topics and the rights of `USERS` but the stranger."""
    prefix = f"t{uuid4().hex[:12]}."
    await kafka.allow("mesh", mesh_acls(prefix))
    await kafka.allow("publisher", publisher_acls(prefix))
    await kafka.allow("approver", approver_acls(prefix))
    assert not (await apply_topics(_settings(kafka, "mesh", prefix))).refused
    return prefix


async def test_a_job_from_submit_to_end(kafka: SecureKafka, tmp_path: Path) -> None:
    """Router, worker and publisher, each with the rights that the documentation names and no more."""
    prefix = f"t{uuid4().hex[:12]}."
    await kafka.allow("mesh", mesh_acls(prefix))
    await kafka.allow("publisher", publisher_acls(prefix))
    async with (
        mesh_services(kafka.secure, "kafka", tmp_path, topic_prefix=prefix, **kafka.login_settings("mesh")),
        Client(kafka.secure, prefix, security=kafka.login("publisher")) as client,
    ):
        job = await client.submit(workload="python", items=[4, 9], options={"function": "math:sqrt"})
        end = await client.wait(job.job_id, WAIT_SECONDS)
        assert end.status == "completed"
        assert [result.output async for result in client.results(job.job_id)] == [2.0, 3.0]


async def test_only_the_approver_decides(kafka: SecureKafka) -> None:
    """`jobs.decisions` takes records of the user whom an ACL lets write there, and of no other."""
    prefix = await _with_topics(kafka)
    job_id = str(uuid4())

    async with Client(kafka.secure, prefix, security=kafka.login("approver")) as client:
        await client.approve(job_id, by="ann")

    async with Client(kafka.secure, prefix, security=kafka.login("publisher")) as client:
        with pytest.raises(TopicsMissingError, match="no topic for decisions that publisher may see"):
            await client.approve(job_id, by="ann")
    decision = OutgoingRecord(f"{prefix}jobs.decisions", b"{}", None, None, ())
    publisher = KafkaAccess(kafka.secure, kafka.login("publisher"))
    async with started_producer(publisher) as producer:
        with pytest.raises(AccessRefusedError, match=f"no ACL lets this user .* topic {prefix}jobs.decisions"):
            await producer.send_all([decision])


async def test_a_tenant_writes_to_its_inbox_alone(kafka: SecureKafka, tmp_path: Path) -> None:
    """An ACL keeps it off all other inboxes; in its own it has no say over another's jobs, and its own go through."""
    prefix = f"t{uuid4().hex[:12]}."
    await kafka.allow("mesh", mesh_acls(prefix))
    tenants = ("ads", "search")
    for tenant in tenants:
        await kafka.allow(tenant, publisher_acls(prefix, f"jobs.{tenant}"))
    roots: dict[str, Any] = {"workload": "python", "items": [4, 9], "options": {"function": "math:sqrt"}}
    settings: dict[str, Any] = {"topic_prefix": prefix, "tenants": tenants} | kafka.login_settings("mesh")
    async with (
        mesh_services(kafka.secure, "kafka", tmp_path, start=False, **settings) as mesh,
        Client(kafka.secure, prefix, tenant="search", security=kafka.login("search")) as search,
        Client(kafka.secure, prefix, tenant="ads", security=kafka.login("ads")) as ads,
        started_producer(KafkaAccess(kafka.secure, kafka.login("ads"))) as producer,
    ):
        for name in ("jobs", "jobs.search", "jobs.decisions"):
            with pytest.raises(AccessRefusedError, match=f"no ACL lets this user .* topic {prefix}{name}$"):
                await producer.send_all([OutgoingRecord(f"{prefix}{name}", b"{}", None, None, ())])
        with pytest.raises(TopicsMissingError, match=f"has no {prefix}jobs that ads may see"):
            async with Client(kafka.secure, prefix, security=kafka.login("ads")):
                pass

        await mesh.router.bring_up()  # no worker yet, so the job waits
        theirs = await search.submit(**roots)
        await wait_until(
            partial(read_all, mesh.settings, "jobs.history"),
            description="the job is accepted",
            timeout_seconds=WAIT_SECONDS,
            interval_seconds=0.5,
        )
        foreign = encode(JobSubmit(**roots, tenant="search"))
        cancel = await ads.cancel(theirs.job_id, "not mine")
        (sent,) = await producer.send_all([OutgoingRecord(f"{prefix}jobs.ads", foreign, None, None, ())])
        letters = await _letters(kafka, prefix, 2)
        assert letters[sent.partition, sent.offset] == "tenant: this inbox is for tenant ads only"
        assert "is not of tenant ads" in letters[cancel.partition, cancel.offset]

        mine = await ads.submit(**roots)
        await mesh.worker.bring_up()
        for client, job in ((search, theirs), (ads, mine)):
            assert (await client.wait(job.job_id, WAIT_SECONDS)).status == "completed"


async def _letters(kafka: SecureKafka, prefix: str, count: int) -> dict[tuple[int, int], str]:
    """The reasons of dead letters, by partition and offset of the original, once there are so many."""

    async def enough() -> list[DeadLetterHeaders]:
        records = await read_public_topics(kafka.secure, prefix, names=("jobs.dead",), security=kafka.login("mesh"))
        return [DeadLetterHeaders.decode(each.headers) for each in records] if len(records) >= count else []

    letters = await wait_until(enough, description="dead letters", timeout_seconds=WAIT_SECONDS, interval_seconds=0.5)
    return {(letter.partition, letter.offset): letter.reason for letter in letters}


async def test_the_approver_cannot_submit(kafka: SecureKafka) -> None:
    """It sees the topic, and the broker refuses its record."""
    prefix = await _with_topics(kafka)

    async with Client(kafka.secure, prefix, security=kafka.login("approver")) as client:
        with pytest.raises(AccessRefusedError, match=f"{prefix}jobs did not acknowledge: no ACL lets this user"):
            await client.submit(workload="python", items=[4], options={"function": "math:sqrt"})


async def test_a_user_without_rights(kafka: SecureKafka) -> None:
    """It can log in. Kafka hides all topics from it, so the message names the user and the right."""
    prefix = await _with_topics(kafka)

    with pytest.raises(TopicsMissingError, match=r"that stranger may see \(ACLs: Describe\)"):
        async with Client(kafka.secure, prefix, security=kafka.login("stranger")):
            pass


async def test_a_group_that_is_not_allowed(kafka: SecureKafka) -> None:
    """A consumer is told the group."""
    prefix = await _with_topics(kafka)
    access = KafkaAccess(kafka.secure, kafka.login("publisher"))
    consumer = WholeConsumer(f"{prefix}jobs.done", **access.options(), group_id=f"{prefix}mine")
    try:
        with pytest.raises(KafkaRefusedError, match=f"consumer group {prefix}mine"):
            await consumer.start()
    finally:
        await consumer.stop()


async def _refused(address: str, security: KafkaSecurity | None) -> str:
    admin = WholeAdminClient(**KafkaAccess(address, security).options())
    with pytest.raises(KafkaRefusedError) as raised:
        await admin.start()
    port = int(address.rsplit(":", 1)[1])
    connections = psutil.Process().net_connections("tcp4")
    assert not [each for each in connections if each.raddr[1:] == (port,)], "connections are left"
    return str(raised.value)


async def test_a_wrong_password(kafka: SecureKafka) -> None:
    """The user is named, the password is not."""
    said = await _refused(kafka.secure, kafka.login("mesh", password=SecretStr("wr0ng")))

    assert (
        said == f"the broker at {kafka.secure} refuses the user mesh: name or password (MESH_KAFKA_PASSWORD) is wrong"
    )


async def test_a_wrong_authority(kafka: SecureKafka) -> None:
    """The certificate is signed by another one."""
    said = await _refused(kafka.secure, kafka.login("mesh", ca=kafka.other_ca))

    assert f"the certificate of the broker at {kafka.secure} is not signed by the CA in MESH_KAFKA_CA" in said


async def test_a_name_that_is_not_in_the_certificate(kafka: SecureKafka) -> None:
    """It is for an address alone."""
    assert "is not for localhost" in await _refused(kafka.by_name, kafka.login("mesh"))


async def test_another_mechanism(kafka: SecureKafka) -> None:
    """The broker has one, and it is not this."""
    said = await _refused(kafka.secure, kafka.login("mesh", sasl_mechanism="PLAIN"))

    assert f"the broker at {kafka.secure} does not take PLAIN" in said


async def test_no_tls_where_there_should_be(kafka: SecureKafka) -> None:
    """A plain client at a port with TLS, with a user and without."""
    for security in (None, kafka.login("mesh", protocol="sasl_plaintext", ca=None)):
        said = await _refused(kafka.secure, security)
        assert f"the broker at {kafka.secure} speaks TLS on that port" in said


async def test_tls_where_there_is_none(kafka: SecureKafka) -> None:
    """The port of the plain listener."""
    said = await _refused(kafka.bootstrap, kafka.login("mesh"))

    assert f"the broker at {kafka.bootstrap} speaks no TLS on that port" in said


async def test_no_user_where_one_has_to_log_in(kafka: SecureKafka) -> None:
    """TLS alone does not let anybody in."""
    said = await _refused(kafka.secure, KafkaSecurity("ssl", ca=kafka.ca))

    assert "wants users to log in: set MESH_KAFKA_SECURITY to sasl_ssl" in said


async def test_a_user_where_nobody_logs_in(kafka: SecureKafka) -> None:
    """The plain listener takes no login."""
    said = await _refused(kafka.bootstrap, kafka.login("mesh", protocol="sasl_plaintext", ca=None))

    assert f"the broker at {kafka.bootstrap} logs in no users on that port" in said


async def test_a_client_certificate(kafka: SecureKafka) -> None:
    """It lets its owner in; without one the broker closes the connection, and the message says what may be missing."""
    admin = WholeAdminClient(**KafkaAccess(kafka.mutual, kafka.certificate_login()).options())
    try:
        await admin.start()
        assert (await admin.describe_cluster())["brokers"]
    finally:
        await admin.close()

    said = await _refused(kafka.mutual, KafkaSecurity("ssl", ca=kafka.ca))

    assert "closes the TLS connection: does it want another MESH_KAFKA_CERTIFICATE?" in said


async def test_nobody_refuses_where_nobody_is() -> None:
    """An address without a broker is no refusal."""
    with pytest.raises(KafkaUnavailableError) as raised:
        await WholeAdminClient(bootstrap_servers="127.0.0.1:9").start()
    assert not isinstance(raised.value, KafkaRefusedError)


async def test_services_and_doctor_say_the_same(kafka: SecureKafka) -> None:
    """A service does not wait for what only a person can correct, and `mesh doctor` says what that is."""
    settings = fresh_settings(
        kafka.secure, "kafka", **(kafka.login_settings("mesh") | {"kafka_password": SecretStr("wr0ng")})
    )
    said = "refuses the user mesh: name or password"

    with pytest.raises(ConfigurationError, match=said):
        await apply_topics(settings)
    producer = make_producer(settings)
    with pytest.raises(ConfigurationError, match=said):
        await producer.start()
    await producer.stop()
    with pytest.raises(CheckFailed, match=said):
        await broker_answers(Mesh(settings, "environment"))


async def test_a_verb_says_why(kafka: SecureKafka) -> None:
    """With a word for scripts, and without the password."""
    login = kafka.login_settings("mesh") | {"kafka_password": SecretStr("wr0ng")}
    settings = fresh_settings(kafka.secure, "kafka", **login)

    ran = await asyncio.to_thread(run_here, ("list", "--json"), settings.environment())

    assert ran.status == 3
    assert ran.error()["error_type"] == "refused"
    assert "refuses the user mesh: name or password" in ran.error()["message"]
    assert "wr0ng" not in ran.stdout + ran.stderr
