"""What a mesh looks like when a test of it fails: its processes, claims, queues and facts, what its services said."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from eldermesh.kafka.errors import KafkaUnavailableError
from eldermesh_cli.stack.processes.log_file import log_tail
from eldermesh_cli.stack.service import Service
from shared.errors import MeshError
from shared.history.chunk_id import ChunkId
from shared.history.foreign_state import celery_key_prefix
from shared.history.keys import PartitionKeys
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings
from tests.whole_topic import end_offsets, read_topic

_SECONDS = 10.0
_LINES = 200
_SAID = 8
_LINE_CHARACTERS = 300


async def diagnosis(settings: Settings, services: Sequence[Service]) -> str:
    """Lines to be added to a failure."""
    lines = [f"{each.spec.name}: {'has ended' if each.pid is None else f'runs, pid {each.pid}'}" for each in services]
    unfinished: set[str] = set()
    try:
        async with (
            asyncio.timeout(_SECONDS),
            Redis.from_url(settings.redis_url.get_secret_value(), decode_responses=True) as redis,
        ):
            lines += await _in_redis(redis, settings, unfinished)
    except (RedisError, OSError) as error:
        lines.append(f"Redis does not answer: {error!r}")
    try:
        async with asyncio.timeout(_SECONDS):
            lines += await _in_the_history(settings, unfinished)
    except (KafkaUnavailableError, MeshError, OSError) as error:
        lines.append(f"Kafka does not answer: {error!r}")
    for each in services:
        said = [line for line in log_tail(each.log_path, lines=_LINES).splitlines() if '"level":"info"' not in line]
        lines += [f"{each.spec.name} said: {line[:_LINE_CHARACTERS]}" for line in said[-_SAID:]]
    return "\n".join(lines)


async def _in_the_history(settings: Settings, jobs: Collection[str]) -> list[str]:
    """Where each partition ends, to be compared with what is applied, and the facts of some jobs."""
    lines = [f"history ends at {await end_offsets(settings, JOBS_HISTORY)}"]
    for record in await read_topic(settings, JOBS_HISTORY):
        if record.key.decode() in jobs:
            fact = dict(record.headers).get("ce_type", b"").decode()
            lines.append(f"  {record.partition}:{record.offset} {fact} of {record.key.decode()}")
    return lines


async def _in_redis(client: Redis, settings: Settings, unfinished: set[str]) -> list[str]:
    """What is in Redis; jobs that have current chunks are added to `unfinished`."""
    redis: Any = client  # its types say that each answer may be one already
    run_id = (await redis.info("server"))["run_id"]
    lines = [f"Redis: run {run_id}, time {await redis.time()}"]
    for partition in range(settings.partition_count):
        keys = PartitionKeys(settings.topic(JOBS_HISTORY), partition)
        meta = await redis.hgetall(keys.meta)
        current = sorted(await redis.hkeys(keys.current))
        unfinished.update(ChunkId.parse(chunk).job_id for chunk in current)
        lines += [
            f"partition {partition}: gate {'open' if meta.get('ready') == run_id else 'closed'}, {meta}",
            f"  current {current}",
            f"  claims {await redis.hgetall(keys.claims)}, trouble {await redis.hgetall(keys.trouble)}",
        ]
    sizes = {"list": redis.llen, "hash": redis.hlen}
    async for key in redis.scan_iter(match=f"{celery_key_prefix(settings)}*"):
        if (kind := await redis.type(key)) in sizes:
            lines.append(f"{key}: {await sizes[kind](key)}")
    return lines
