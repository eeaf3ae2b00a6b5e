"""aiokafka clients as this project uses them: acks=all, positions and partitions always explicit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eldermesh.kafka.admin import WholeAdminClient
from shared.kafka.paced_consumer import PacedConsumer
from shared.kafka.service_producer import ACKNOWLEDGE_SECONDS, Producer
from shared.settings import Settings

FETCH_WAIT_MS = {"kafka": 500, "embedded": 10}
"""The embedded broker sleeps in steps of this, longer ones when idle; Kafka answers as soon as there is data."""

IDLE_FETCH_WAIT_MS = {"kafka": 500, "embedded": 100}
"""The same once no records come. So much later than otherwise may come, on the embedded broker, the first record after
a pause; on Kafka, the first of a partition that the consumer has just been given."""

STEADY_IDLE_FETCH_WAIT_MS = {"kafka": 5_000, "embedded": 100}
"""The same of a consumer whose partitions stay the same."""


@dataclass(frozen=True, slots=True)
class GroupTimes:
    """Group membership times in milliseconds."""

    session_ms: int
    heartbeat_ms: int
    rebalance_ms: int


_GROUP_TIMES = {
    "kafka": GroupTimes(session_ms=45_000, heartbeat_ms=3_000, rebalance_ms=60_000),
    # Joining takes half the session time there, so a long session makes every start slow.
    "embedded": GroupTimes(session_ms=3_000, heartbeat_ms=500, rebalance_ms=10_000),
}


def group_times(settings: Settings) -> GroupTimes:
    """The profile's times; `group_session_seconds` wins, its heartbeats then a tenth of it."""
    times = _GROUP_TIMES[settings.broker_profile]
    if settings.group_session_seconds is None:
        return times
    session_ms = round(settings.group_session_seconds * 1000)
    return GroupTimes(session_ms=session_ms, heartbeat_ms=session_ms // 10, rebalance_ms=times.rebalance_ms)


def make_producer(
    settings: Settings, *, client_id: str = "eldermesh", acknowledge_seconds: float = ACKNOWLEDGE_SECONDS
) -> Producer:
    """A producer that is not started yet: acks=all, idempotent where the broker can, replaced when it has failed."""
    return Producer(settings, client_id=client_id, acknowledge_seconds=acknowledge_seconds)


def make_consumer(settings: Settings, *, group_id: str | None = None, **options: Any) -> PacedConsumer:
    """A consumer that is not started yet: never commits by itself; `options` are aiokafka's and win."""
    times = group_times(settings)
    merged: dict[str, Any] = {
        **settings.kafka.options(),
        "group_id": group_id,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": FETCH_WAIT_MS[settings.broker_profile],
        "idle_wait_ms": IDLE_FETCH_WAIT_MS[settings.broker_profile],
        "max_partition_fetch_bytes": 4 * 1024 * 1024,
        "request_timeout_ms": 40_000,
    }
    if group_id is not None:
        merged |= {
            "session_timeout_ms": times.session_ms,
            "heartbeat_interval_ms": times.heartbeat_ms,
            "rebalance_timeout_ms": times.rebalance_ms,
            "max_poll_interval_ms": 300_000,
        }
    return PacedConsumer(**(merged | options))


def make_admin(settings: Settings) -> WholeAdminClient:
    """An admin client that is not started yet."""
    return WholeAdminClient(**settings.kafka.options(), client_id="eldermesh-admin")
