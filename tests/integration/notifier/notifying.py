"""A notifier with topics of its own, told of ends and holds as the mesh publishes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from eldermesh.contract.cloudevents import COMPLETED, FAILED, HELD, HOLD_REMINDER, Headers, binary_headers
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.times import format_time
from services.notifier.app import make_app
from shared.facts.notifications import NotificationFact, decode_notification_fact
from shared.health.parts import NOTIFIER
from shared.history.clock import SystemClock
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS_DEAD, JOBS_DONE, JOBS_HOLDS, NOTIFICATIONS
from shared.settings import Settings
from shared.telemetry.propagation import trace_of_job_id
from tests.fresh_topics import fresh_topics
from tests.serving import serving
from tests.unit.notifier.events import end, hold
from tests.waiting import wait_until
from tests.whole_topic import read_topic


@dataclass(frozen=True, slots=True)
class Notifying:
    """The topics of a mesh, and the notifier on them."""

    settings: Settings

    async def tell(self, *records: tuple[str, str, bytes, Headers]) -> None:
        """Publish records: topic, job id, value, headers."""
        producer = make_producer(self.settings)
        await producer.start()
        try:
            for topic, job_id, value, headers in records:
                await producer.send_and_wait(
                    self.settings.topic(topic),
                    value,
                    key=job_id.encode(),
                    headers=headers,
                    partition=partition_of(job_id, self.settings.partition_count),
                )
        finally:
            await producer.stop()

    async def end(self, *, times: int = 1, age_seconds: float = 0.0, **fields: Any) -> str:
        """Publish one end, so often, and return its job's id."""
        job_id = str(uuid4())
        now_ms = SystemClock().now_ms() - round(age_seconds * 1000)
        values: dict[str, Any] = {"job_id": job_id, "accepted_at": format_time(now_ms - 200_000)}
        event = end(**(values | {"ended_at": format_time(now_ms)} | fields))
        event_type = COMPLETED if event.status == "completed" else FAILED
        value, headers = orjson.dumps(event.model_dump(mode="json")), _headers(job_id, event_type, "end", now_ms)
        await self.tell(*[(JOBS_DONE, job_id, value, headers)] * times)
        return job_id

    async def hold(self, *, reminder: bool = False, job_id: str | None = None) -> str:
        """Publish a hold, or its reminder."""
        job_id = job_id or str(uuid4())
        now_ms = SystemClock().now_ms()
        event = hold(job_id=job_id, recorded_at=format_time(now_ms))
        event_type = HOLD_REMINDER if reminder else HELD
        headers = _headers(job_id, event_type, "hold", now_ms)
        await self.tell((JOBS_HOLDS, job_id, orjson.dumps(event.model_dump(mode="json")), headers))
        return job_id

    async def facts(self) -> list[tuple[str, NotificationFact]]:
        """All facts there are now: the notification's id, and the fact."""
        records = await read_topic(self.settings, NOTIFICATIONS)
        return [
            (each.key.decode(), decode_notification_fact(dict(each.headers)["ce_type"].decode(), each.value))
            for each in records
        ]

    async def types(self, count: int) -> list[str]:
        """The types of all facts, in order within a partition, once there are so many."""

        async def look() -> list[str]:
            found = [fact.fact_type for _, fact in await self.facts()]
            return found if len(found) >= count else []

        return await wait_until(look, description=f"{count} facts", timeout_seconds=120, interval_seconds=0.1)

    async def told(self, fact_type: str, count: int) -> list[str]:
        """The types of all facts, once there are so many of one type."""

        async def look() -> list[str]:
            found = [fact.fact_type for _, fact in await self.facts()]
            return found if found.count(fact_type) >= count else []

        return await wait_until(look, description=f"{count} {fact_type}", timeout_seconds=120, interval_seconds=0.1)

    async def dead(self) -> list[Any]:
        """The dead letters, once there are some."""

        async def look() -> list[Any]:
            return await read_topic(self.settings, JOBS_DEAD)

        return await wait_until(look, description="a dead letter", timeout_seconds=120, interval_seconds=0.1)


@asynccontextmanager
async def notifying(
    bootstrap: str, redis_url: str, directory: Path, rules: str | None, **values: Any
) -> AsyncIterator[Notifying]:
    """Topics and settings with short leases; no notifier runs yet."""
    path = None
    if rules is not None:
        path = directory / "notify.yaml"
        path.write_text(rules, "utf-8")
    settings_of = {
        "data_dir": directory / "data",
        "redis_url": redis_url,
        "notify_rules": path,
        "notify_allow_private": True,
        "notify_retry_seconds": 0.1,
        "lease_seconds": 5.0,
        "heartbeat_seconds": 0.5,
        "claim_timeout_seconds": 15.0,
        "drain_seconds": 0.5,
        "group_session_seconds": 1.5,
    } | values
    async with fresh_topics(bootstrap, "embedded", **settings_of) as settings:
        yield Notifying(settings)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """The service in this process, ready."""
    async with serving(make_app(settings), settings, NOTIFIER.trouble):
        yield


def _headers(job_id: str, event_type: str, suffix: str, now_ms: int) -> Headers:
    context = trace_of_job_id(job_id)
    return binary_headers(
        event_id=f"{job_id}:{suffix}",
        event_type=event_type,
        source="test",
        subject=job_id,
        time_ms=now_ms,
        traceparent=context.traceparent,
    )
