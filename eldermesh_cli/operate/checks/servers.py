"""Checks of what the mesh stands on: broker, topics, Redis, clocks, telemetry."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Any

import httpx
from redis.exceptions import RedisError

from eldermesh.kafka.errors import KafkaUnavailableError, no_broker
from eldermesh_cli.operate.checks.check import CheckFailed, Found
from eldermesh_cli.program.target_mesh import Mesh
from shared.errors import MeshError
from shared.http_client import NoHttpClientError, http_client
from shared.kafka.clients import make_admin
from shared.kafka.topic_admin import inspect_topics
from shared.redis_client import make_redis, redis_trouble

_SKEW_SECONDS = 1.0
_CLOCK_SAMPLES = 9
_ANSWER_SECONDS = 10.0
_PROBE_MS = 1000
_OLDEST_REDIS = (6, 2)
"""Lua scripts read `INFO`, and the embedded server's commands are those of Redis 6.2."""


async def broker_answers(mesh: Mesh) -> Found:
    """Whether the broker is there."""
    admin = make_admin(mesh.settings)
    began = time.monotonic()
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    except (KafkaUnavailableError, OSError) as error:
        raise CheckFailed(no_broker(mesh.settings.kafka_bootstrap, error), mesh.hint) from error
    finally:
        await admin.close()
    took_ms = (time.monotonic() - began) * 1000
    return Found(f"{mesh.settings.kafka_bootstrap} answers in {took_ms:.0f} ms, {len(cluster['brokers'])} broker(s)")


async def topics_as_promised(mesh: Mesh) -> Found:
    """Whether all topics are there and keep what the mesh promises."""
    try:
        inspected = await inspect_topics(mesh.settings)
    except MeshError as error:
        raise CheckFailed(str(error), mesh.hint) from error
    if inspected.refused:
        reasons = "; ".join(f"{topic.name}: {topic.reason}" for topic in inspected.refused)
        raise CheckFailed(reasons, "change the topics or the settings; `mesh topics apply` never changes a topic")
    if inspected.missing:
        raise CheckFailed(f"missing: {', '.join(inspected.missing)}", "run `mesh topics apply`, or check the prefix")
    return Found(f"{len(inspected.present)} topics as promised")


async def redis_answers(mesh: Mesh) -> Found:
    """Whether Redis is there, takes writes, and never throws keys away."""
    async with aclosing(make_redis(mesh.settings)) as redis:
        try:
            info: Any = await redis.info()
        except (RedisError, OSError) as error:
            raise CheckFailed(redis_trouble(error), mesh.hint) from error
        try:
            await redis.set(f"{mesh.settings.topic_prefix}doctor", 1, px=_PROBE_MS)
        except (RedisError, OSError) as error:
            raise CheckFailed(
                f"Redis refuses writes: {error}",
                "jobs wait until it takes them: look at its role (a failover?), memory, disk and users",
            ) from error
    version = str(info.get("valkey_version") or info["redis_version"])
    name = "Valkey" if "valkey_version" in info else "Redis"
    numbers = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    policy = info.get("maxmemory_policy", "unknown")
    detail = f"{name} {version}, maxmemory-policy {policy}"
    if numbers < _OLDEST_REDIS:
        raise CheckFailed(detail, "the mesh needs Redis 6.2 or newer")
    if policy != "noeviction":
        raise CheckFailed(detail, "set `maxmemory-policy noeviction`: evicted keys are lost claims and queues")
    return Found(detail)


async def clocks_agree(mesh: Mesh) -> Found:
    """Whether Redis' clock, which judges leases, is near this machine's."""
    async with aclosing(make_redis(mesh.settings)) as redis:
        samples: list[tuple[float, float]] = []
        try:
            for _ in range(_CLOCK_SAMPLES):
                before = time.time()
                seconds, micros = await redis.time()
                after = time.time()
                samples.append((after - before, seconds + micros / 1_000_000 - (before + after) / 2))
        except (RedisError, OSError) as error:
            raise CheckFailed(f"Redis does not tell its time: {error}", mesh.hint) from error
    _, skew = min(samples)  # the quickest answer tells best
    detail = f"Redis' clock is {skew * 1000:+.0f} ms from this machine's"
    return Found(detail, "let both keep time by NTP" if abs(skew) > _SKEW_SECONDS else None)


async def telemetry_received(mesh: Mesh) -> Found:
    """Whether spans are taken where they are sent to."""
    endpoint = mesh.settings.otlp_endpoint
    if endpoint is None:
        return Found("spans are not exported", "set MESH_OTLP_ENDPOINT to see traces")
    return await _taken(f"{endpoint.rstrip('/')}/v1/traces", "spans", "traces are lost meanwhile, jobs are not")


async def metrics_received(mesh: Mesh) -> Found:
    """Whether metrics are taken where they are sent to."""
    endpoint = mesh.settings.metrics_endpoint
    if endpoint is None:
        return Found("metrics are not sent")
    return await _taken(f"{endpoint.rstrip('/')}/v1/metrics", "metrics", "metrics are lost meanwhile, jobs are not")


async def _taken(address: str, what: str, lost: str) -> Found:
    try:
        async with http_client(address, timeout_seconds=_ANSWER_SECONDS) as client:
            # No bytes are an export of nothing.
            answer = await client.post(address, content=b"", headers={"content-type": "application/x-protobuf"})
    except NoHttpClientError as error:
        return Found(str(error), "set http_proxy, https_proxy, all_proxy and SSL_CERT_FILE right, or unset them")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Found(f"{address} does not answer: {error!r}", lost)
    if answer.is_error:
        return Found(f"{address} answers {answer.status_code}", "is this an OTLP/HTTP endpoint?")
    return Found(f"{address} takes {what}")
