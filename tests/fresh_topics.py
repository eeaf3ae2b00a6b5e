"""Topics of its own for one test: a fresh prefix on a shared broker, taken away afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from shared.kafka.clients import make_admin
from shared.kafka.topic_admin import apply_topics
from shared.settings import Settings

Profile = Literal["kafka", "embedded"]


class AnyBroker(NamedTuple):
    """A broker of either kind."""

    bootstrap: str
    profile: Profile


def fresh_settings(bootstrap: str, profile: Profile, **overrides: Any) -> Settings:
    """Settings with a prefix that nobody else uses, and few partitions, which Kafka creates faster."""
    values: dict[str, Any] = {
        "kafka_bootstrap": bootstrap,
        "broker_profile": profile,
        "topic_prefix": f"t{uuid4().hex[:12]}.",
        "partitions": 3,
        "_env_file": None,
    }
    return Settings(**(values | overrides))


@asynccontextmanager
async def deleted_afterwards(settings: Settings) -> AsyncIterator[Settings]:
    """Delete every topic with the prefix of `settings` on the way out."""
    try:
        yield settings
    finally:
        admin = make_admin(settings)
        try:
            await admin.start()
            # Listed, not named: the embedded broker creates a topic that is asked for by name.
            mine = [name for name in await admin.list_topics() if name.startswith(settings.topic_prefix)]
            if mine:
                await admin.delete_topics(mine, timeout_ms=10_000)
        finally:
            await admin.close()


@asynccontextmanager
async def fresh_topics(bootstrap: str, profile: Profile, **overrides: Any) -> AsyncIterator[Settings]:
    """Settings whose topics exist; they are deleted afterwards."""
    async with deleted_afterwards(fresh_settings(bootstrap, profile, **overrides)) as settings:
        assert not (await apply_topics(settings)).refused
        yield settings
