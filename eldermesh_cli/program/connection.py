"""What most verbs speak to: the broker's topics and the read model of jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from eldermesh.client import Client
from eldermesh.client.kafka import PublicTopics, read_topics
from eldermesh.contract.tenants import inbox_of_tenant
from eldermesh.contract.topics import JOBS, JOBS_PROGRESS
from eldermesh.kafka.access import KafkaAccess
from eldermesh_cli.program.target_mesh import Mesh
from services.router.read_model.jobs import JobReadModel
from shared.kafka.topics import JOBS_HISTORY
from shared.redis_client import make_redis
from shared.settings import Settings

_SOURCE = "/eldermesh/cli"


@dataclass(frozen=True, slots=True)
class OpenMesh:
    """A mesh that answers: its topics, its Redis, its jobs."""

    mesh: Mesh
    topics: PublicTopics
    redis: Redis
    jobs: JobReadModel

    @property
    def kafka(self) -> KafkaAccess:
        """The broker."""
        return self.mesh.settings.kafka

    @property
    def history_topic(self) -> str:
        """Full name of the history of jobs."""
        return self.mesh.settings.topic(JOBS_HISTORY)


def mesh_client(settings: Settings) -> Client:
    """A client of the mesh that these settings name."""
    return Client(
        settings.kafka_bootstrap,
        settings.topic_prefix,
        source=_SOURCE,
        tenant=settings.submit_tenant,
        security=settings.kafka.security,
    )


def submit_inbox(settings: Settings) -> str:
    """The topic, without prefix, that verbs submit to and cancel in."""
    return JOBS if settings.submit_tenant is None else inbox_of_tenant(settings.submit_tenant)


@asynccontextmanager
async def open_mesh(mesh: Mesh) -> AsyncIterator[OpenMesh]:
    """Connect to broker and Redis, and see that both answer.

    Raises:
        TopicsMissingError: the broker has no mesh under this prefix.
        MeshUnavailableError: the broker does not answer.
        redis.RedisError: Redis does not answer.
    """
    settings = mesh.settings
    topics = await read_topics(settings.kafka, settings.topic_prefix, inbox=submit_inbox(settings))
    redis = make_redis(settings)
    try:
        await redis.ping()
        # The history has as many partitions as the topics that are projected from it.
        jobs = JobReadModel(redis, mesh.settings.topic(JOBS_HISTORY), topics.partitions[JOBS_PROGRESS])
        yield OpenMesh(mesh, topics, redis, jobs)
    finally:
        await redis.aclose()
