"""Redis with TLS and an ACL user: the mesh works with the rights that the documentation names, and no others do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError

from eldermesh.client import Client
from eldermesh.launch import python_command
from eldermesh_cli.operate.checks.check import CheckFailed
from eldermesh_cli.operate.checks.servers import redis_answers
from eldermesh_cli.program.target_mesh import Mesh
from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from eldermesh_cli.stack.service import Service, ServiceSpec
from services.router.engines.celery.app import make_celery_app
from services.router.engines.celery.broker import BROKER_ERRORS
from services.router.engines.celery.ping import ping_workers
from shared.errors import ConfigurationError
from shared.redis_client import make_redis
from shared.settings import Settings
from tests.mesh_services import mesh_services
from tests.secure_redis import SecureRedis, mesh_rules, redis_missing

pytestmark = pytest.mark.redis

WAIT_SECONDS = 180.0


@pytest.fixture
def prefix() -> str:
    """What stands before the names of this test's mesh."""
    return f"t{uuid4().hex[:12]}."


@pytest.fixture
async def redis(tmp_path: Path, prefix: str) -> AsyncIterator[SecureRedis]:
    """A Redis with the users of this mesh, and of another one."""
    missing = redis_missing()
    if missing is not None:
        pytest.skip(missing)
    server = SecureRedis(tmp_path / "redis", {"mesh": mesh_rules(prefix), "other": mesh_rules("other.")})
    await server.service.bring_up()
    yield server
    await server.service.shut_down()


def _settings(redis: SecureRedis, prefix: str, user: str, **others: object) -> Settings:
    return Settings(topic_prefix=prefix, _env_file=None, **redis.settings(user, **others))


async def test_a_job_from_submit_to_end(embedded_broker: str, redis: SecureRedis, prefix: str, tmp_path: Path) -> None:
    """Router, Celery's queue and worker, pings of workers, Flower and `mesh doctor` as the user of the mesh."""
    values = {"topic_prefix": prefix, **redis.settings("mesh")}
    async with (
        mesh_services(embedded_broker, "embedded", tmp_path, **values) as mesh,
        Client(embedded_broker, prefix) as client,
    ):
        job = await client.submit(workload="python", items=[4, 9], options={"function": "math:sqrt"})
        assert (await client.wait(job.job_id, WAIT_SECONDS)).status == "completed"
        assert await asyncio.to_thread(ping_workers, mesh.settings, timeout_seconds=30.0)
        assert "Redis 7" in (await redis_answers(Mesh(mesh.settings, "environment"))).detail
        await _flower_sees_the_queues(mesh.settings, tmp_path)


async def _flower_sees_the_queues(settings: Settings, directory: Path) -> None:
    port = free_port()

    async def ready() -> None:
        try:
            async with httpx.AsyncClient(trust_env=False) as browser:
                page = await browser.get(f"http://{LOOPBACK}:{port}/broker", timeout=20.0)
        except httpx.HTTPError as error:
            raise NotReadyError(f"no page: {error!r}") from error
        if page.status_code != httpx.codes.OK or "batch_tasks" not in page.text:
            raise NotReadyError(f"{page.status_code}: no queues yet")

    spec = ServiceSpec(
        name="flower",
        command=python_command("services.router.engines.celery.flower", "--port", str(port)),
        env=settings.environment(),
        ready=ready,
    )
    flower = Service(spec, log_dir=directory / "logs")
    try:
        await flower.bring_up()
    finally:
        await flower.shut_down()


async def test_a_user_of_another_mesh(redis: SecureRedis, prefix: str) -> None:
    """It cannot touch the keys of this one, and `mesh doctor` says so."""
    settings = _settings(redis, prefix, "other")
    async with aclosing(make_redis(settings)) as client:
        with pytest.raises(NoPermissionError):
            await client.get(f"{prefix}celery:batch_tasks")
        with pytest.raises(NoPermissionError):
            await client.hgetall(f"{{h:{prefix}jobs.history:0}}:v1:meta")
    with pytest.raises(CheckFailed, match=r"Redis refuses writes: .*permissions"):
        await redis_answers(Mesh(settings, "environment"))


async def test_what_the_mesh_does_not_need(redis: SecureRedis, prefix: str) -> None:
    """Its user cannot delete everything, configure the server, or read keys of another mesh."""
    async with aclosing(make_redis(_settings(redis, prefix, "mesh"))) as client:
        for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("GET", "other.celery:batch_tasks")):
            with pytest.raises(NoPermissionError):
                await client.execute_command(*command)  # type: ignore[no-untyped-call]  # of the library


async def test_a_wrong_authority(redis: SecureRedis, prefix: str) -> None:
    """Neither Redis' client nor Celery's broker connects to whom another CA has signed."""
    settings = _settings(redis, prefix, "mesh", redis_ca=redis.other_ca)
    async with aclosing(make_redis(settings)) as client:
        with pytest.raises(RedisConnectionError, match="certificate verify failed"):
            await client.ping()
    with pytest.raises(CheckFailed, match="is not signed by the CA in MESH_REDIS_CA"):
        await redis_answers(Mesh(settings, "environment"))

    def publish() -> None:
        with make_celery_app(settings) as app, app.connection() as connection:
            connection.ensure_connection(max_retries=1)

    with pytest.raises(BROKER_ERRORS) as raised:
        await asyncio.to_thread(publish)
    assert "certificate verify failed" in str(raised.value)


async def test_a_wrong_password(redis: SecureRedis, prefix: str) -> None:
    """`mesh doctor` says that the user is refused, without the password."""
    url = redis.settings("mesh")["redis_url"].get_secret_value().replace("mesh-secret", "wr0ng")
    settings = _settings(redis, prefix, "mesh", redis_url=SecretStr(url))
    async with aclosing(make_redis(settings)) as client:
        with pytest.raises(AuthenticationError):
            await client.ping()
    with pytest.raises(CheckFailed, match="Redis refuses the user of MESH_REDIS_URL") as raised:
        await redis_answers(Mesh(settings, "environment"))
    assert "wr0ng" not in raised.value.detail


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """They are refused at the start, by the name of the setting."""
    (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
    for url, values, message in (
        ("rediss://h/0", {"redis_ca": tmp_path / "missing.pem"}, "MESH_REDIS_CA: there is no file"),
        ("rediss://h/0", {"redis_ca": tmp_path / "ca.pem"}, "MESH_REDIS_CA: .* holds no certificate"),
        ("rediss://h/0", {"redis_key": tmp_path / "ca.pem"}, "MESH_REDIS_CERTIFICATE: a key needs its certificate"),
        ("redis://h/0", {"redis_ca": tmp_path / "ca.pem"}, "MESH_REDIS_CA: MESH_REDIS_URL uses no TLS"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            Settings.of_environment(_env_file=None, redis_url=url, **values)
