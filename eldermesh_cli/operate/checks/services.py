"""Checks of the mesh's own services, as far as broker and Redis tell."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from importlib.util import find_spec
from typing import Any

from redis.exceptions import RedisError

from eldermesh.client.errors import ClientError
from eldermesh.client.kafka import read_topics
from eldermesh.contract.topics import JOBS_PROGRESS
from eldermesh.counted import counted
from eldermesh_cli.operate.checks.check import CheckFailed, Found
from eldermesh_cli.program.target_mesh import Mesh
from services.router.read_model.jobs import JobReadModel
from shared.health.parts import unowned_partitions, unsettled_groups
from shared.health.producer_report import producing_trouble
from shared.history.foreign_state import celery_key_prefix
from shared.history.gates import closed_gates
from shared.kafka.topics import (
    CLAUDE_HISTORY,
    CLAUDE_OWNERS,
    JOBS_HISTORY,
    NOTIFICATIONS,
    NOTIFIER_OWNERS,
    ROUTER_OWNERS,
    SAGES_PANEL,
)
from shared.ray_head import head_address, reach_head, trouble_file, wanted_file
from shared.redis_client import make_redis, redis_trouble

_PING_SECONDS = 2.0
"""How long the workers have to answer."""
_BUSY_SECONDS = 10.0
"""How long they have if none did though there is one: on a busy machine a worker that is well can need seconds."""
_CONNECT_SECONDS = 10.0
_PYTHON_QUEUE = "batch_tasks"
_ASKED_WORKERS = "_kombu.binding.celery.pidbox"
"""Where kombu notes who listens to pings: no worker that stopped in order; one that was killed is there for an hour."""
_PRIORITY_SUFFIXES = ("", *(f"\x06\x16{step}" for step in (2, 3, 5, 6, 9)))
"""What kombu appends to a queue's name for its priorities."""


async def partitions_owned(mesh: Mesh) -> Found:
    """Whether a router has loaded every partition of the job history since Redis was started."""
    settings = mesh.settings
    try:
        partitions = (await read_topics(settings.kafka, settings.topic_prefix)).partitions[JOBS_PROGRESS]
        async with aclosing(make_redis(settings)) as redis:
            closed = await closed_gates(redis, settings.topic(JOBS_HISTORY), partitions)
    except (ClientError, RedisError, OSError) as error:
        raise CheckFailed(f"cannot be told: {error}", "see the checks of broker and Redis") from error
    if closed:
        raise CheckFailed(
            f"partitions {closed} of {partitions} are not owned",
            "does a router run? `mesh ps`, and `mesh logs router` says what stops it",
        )
    trouble = await unsettled_groups(settings, [ROUTER_OWNERS])
    if trouble is not None:
        raise CheckFailed(trouble, "does a router run? `mesh ps`; while one starts or stops, this passes")
    return Found(f"all {counted(partitions, 'partition')} of the job history are owned")


async def jobs_go_on(mesh: Mesh) -> Found:
    """Whether jobs wait by themselves, for what their own state makes fail: a workload that is not installed, say."""
    settings = mesh.settings
    async with aclosing(make_redis(settings)) as redis:
        jobs = JobReadModel(redis, settings.topic(JOBS_HISTORY), settings.partition_count)
        try:
            trouble = await jobs.troubles()
        except (RedisError, OSError) as error:
            return Found(f"cannot be told: {redis_trouble(error)}", "see the check of Redis")
    if not trouble:
        return Found("no job waits for what the router lacks")
    subject, reason = min(trouble.items())
    return Found(
        f"{len(trouble)} wait by themselves, {subject} for one: {reason}",
        "the router asks again each second, the others go on; `mesh logs router` says more",
    )


async def prompts_run(mesh: Mesh) -> Found:
    """Whether prompts on `claude.requests` would be run."""
    trouble = await unowned_partitions(mesh.settings, CLAUDE_HISTORY, CLAUDE_OWNERS)
    return _beside(trouble, "claude_exec", "prompts of `mesh ask` wait, jobs go on")


async def sages_listen(mesh: Mesh) -> Found:
    """Whether anybody would be asked for advice."""
    trouble = await unsettled_groups(mesh.settings, [SAGES_PANEL])
    return _beside(trouble, "sages", "jobs go on without advice, each after MESH_ADVISE_SECONDS")


async def people_are_told(mesh: Mesh) -> Found:
    """Whether anybody would be told of ends and holds."""
    trouble = await unowned_partitions(mesh.settings, NOTIFICATIONS, NOTIFIER_OWNERS)
    return _beside(trouble, "notifier", "nobody is told until it runs, jobs go on")


def _beside(trouble: str | None, service: str, meanwhile: str) -> Found:
    """What was found of a service that jobs can do without."""
    if trouble is None:
        return Found(f"{service} is at work")
    return Found(trouble, f"{meanwhile}; `mesh ps`, and `mesh logs {service}` says what stops it")


async def workers_answer(mesh: Mesh) -> Found:
    """Whether anybody runs chunks."""
    if find_spec("celery") is None:
        return await _queues(mesh)

    def ping(seconds: float) -> list[str]:
        # Here and not above: it takes a second, for which the other checks would stand still.
        from services.router.engines.celery.ping import ping_workers

        return ping_workers(mesh.settings, timeout_seconds=seconds)

    try:
        names = await asyncio.to_thread(ping, _PING_SECONDS)
        if not names and await _worker_is_noted(mesh):
            names = await asyncio.to_thread(ping, _BUSY_SECONDS)
    except Exception as error:  # kombu wraps whatever its transport raises in classes of several libraries
        raise CheckFailed(f"cannot be told: {error!r}", "see the check of Redis") from error
    if not names:
        raise CheckFailed("no Celery worker answers", "`mesh ps`, and `mesh logs worker` says what stops it")
    for name in names:  # a worker notes under its own name whether Kafka acknowledges its records
        if (trouble := await producing_trouble(mesh.settings, name)) is not None:
            raise CheckFailed(f"{name}: {trouble}", "its results wait for Kafka; `mesh logs worker` says more")
    return Found(", ".join(names))


async def _worker_is_noted(mesh: Mesh) -> bool:
    async with aclosing(make_redis(mesh.settings)) as redis:
        return bool(await redis.exists(f"{celery_key_prefix(mesh.settings)}{_ASKED_WORKERS}"))


async def ray_answers(mesh: Mesh) -> Found:
    """Whether there is a Ray for large jobs, or will be once one comes."""
    settings = mesh.settings
    if settings.ray_address is None:
        return Found("not configured: large jobs run on Celery, too")
    try:
        await reach_head(*head_address(settings), seconds=_CONNECT_SECONDS)
    except OSError as error:  # TimeoutError is one
        if settings.ray_on_demand and not wanted_file(settings).exists():
            return Found(f"starts at {settings.ray_address} with the first job that is routed to it")
        raise CheckFailed(
            f"nothing listens at {settings.ray_address}: {error!r}",
            "large jobs go to Celery, those that asked for Ray wait; `mesh ps`, and `mesh logs ray` says what stops it",
        ) from error
    with contextlib.suppress(FileNotFoundError):
        reason = trouble_file(settings).read_text(encoding="utf-8", errors="replace")
        raise CheckFailed(
            f"{settings.ray_address} listens, but the router's driver does not stay connected: {reason}",
            "large jobs go to Celery, those that asked for Ray wait; `mesh logs router` and `mesh logs ray` say more",
        )
    return Found(f"{settings.ray_address} listens")


async def _queues(mesh: Mesh) -> Found:
    """Where Celery is not installed, nobody can be asked; the length of the queue is all there is to see."""
    queue = f"{celery_key_prefix(mesh.settings)}{_PYTHON_QUEUE}"
    async with aclosing(make_redis(mesh.settings)) as redis:
        try:
            lengths: list[Any] = [await redis.llen(f"{queue}{suffix}") for suffix in _PRIORITY_SUFFIXES]
        except (RedisError, OSError) as error:
            raise CheckFailed(f"cannot be told: {error}", "see the check of Redis") from error
    return Found(
        f"{sum(lengths)} tasks wait in the queue {_PYTHON_QUEUE}",
        "whether a worker answers, only an installation of `eldermesh[run]` can ask",
    )
