"""`mesh topics apply`: creates the topics of the mesh, or says why those that exist cannot serve it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code  # noqa: TID251 - the layer translates them

from eldermesh.kafka.errors import KafkaUnavailableError
from shared.errors import ConfigurationError, RetryableError
from shared.kafka.clients import make_admin
from shared.kafka.connecting import not_connected
from shared.kafka.incarnation import read_or_create_incarnation
from shared.kafka.topic_promises import ExistingTopic, RefusedTopic, WantedTopic, broken_promises, wanted_topics
from shared.settings import Settings

APPLY_SECONDS = 60.0
"""Longest that `apply_topics` takes, the wait for leaders included."""

_ASK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class AppliedTopics:
    """What became of the topics, by full name.

    If one is refused, nothing was created or changed, unless somebody made the refused one at the same moment.
    """

    created: tuple[str, ...]
    unchanged: tuple[str, ...]
    refused: tuple[RefusedTopic, ...]


@dataclass(frozen=True, slots=True)
class InspectedTopics:
    """How the topics stand, by full name."""

    present: tuple[str, ...]
    missing: tuple[str, ...]
    refused: tuple[RefusedTopic, ...]


async def inspect_topics(settings: Settings) -> InspectedTopics:
    """What `apply_topics` would find, without creating anything.

    Raises:
        ConfigurationError: the broker does not let the topics be read.
        RetryableError: the broker does not answer.
    """
    async with _admin(settings, "could not be read") as admin:
        wanted = wanted_topics(settings, len((await admin.describe_cluster())["brokers"]))
        names = [topic.name for topic in wanted]
        existing = await _existing(admin, names)
    return InspectedTopics(
        present=tuple(name for name in names if name in existing),
        missing=tuple(name for name in names if name not in existing),
        refused=broken_promises(settings, wanted, existing),
    )


async def apply_topics(settings: Settings) -> AppliedTopics:
    """Create what is missing, wait until every partition has a leader, and give a new log its incarnation.

    Idempotent and safe to run from several processes at once. Existing topics are never altered: one that would break
    a promise (see `shared.kafka.topic_promises`) is refused, and then nothing at all is created.

    Raises:
        ConfigurationError: the broker refuses this client, or to create a topic.
        RetryableError: the broker does not answer, or not everything has a leader within `APPLY_SECONDS`.
    """
    async with _admin(settings, "were not ready") as admin:
        applied = await _apply(settings, admin)
    if not applied.refused:
        await read_or_create_incarnation(settings)
    return applied


@asynccontextmanager
async def _admin(settings: Settings, failure: str) -> AsyncIterator[Any]:
    admin = make_admin(settings)
    try:
        async with asyncio.timeout(APPLY_SECONDS):
            try:
                await admin.start()
                yield admin
            finally:
                await admin.close()
    except TimeoutError as error:
        raise RetryableError(f"the topics {failure} within {APPLY_SECONDS:g} s") from error
    except KafkaUnavailableError as error:
        raise not_connected(settings, error) from error


async def _apply(settings: Settings, admin: Any) -> AppliedTopics:
    wanted = wanted_topics(settings, len((await admin.describe_cluster())["brokers"]))
    names = [topic.name for topic in wanted]
    created: set[str] = set()
    while True:
        existing = await _existing(admin, names)
        refused = broken_promises(settings, wanted, existing)
        missing = [topic for topic in wanted if topic.name not in existing]
        if refused or not missing:
            break
        created |= await _create(admin, missing)
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
    if not refused:
        await _wait_for_leaders(admin, wanted)
    unchanged = set(existing) - created - {topic.name for topic in refused}
    return AppliedTopics(_in_order(names, created), _in_order(names, unchanged), refused)


def _in_order(names: list[str], chosen: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in chosen)


async def _described(admin: Any) -> dict[str, dict[str, Any]]:
    """Metadata of all topics. Asked without names: the embedded broker creates a topic that is asked for by name."""
    return {topic["topic"]: topic for topic in await admin.describe_topics()}


async def _existing(admin: Any, names: Iterable[str]) -> dict[str, ExistingTopic]:
    described = await _described(admin)
    present = [name for name in names if name in described]
    configs = await _configs(admin, present)
    return {
        name: ExistingTopic(
            name=name,
            partitions=len(described[name]["partitions"]),
            replication=min((len(each["replicas"]) for each in described[name]["partitions"]), default=0),
            config=configs.get(name, {}),
        )
        for name in present
    }


async def _configs(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """Configuration by topic, as far as the broker answers: the embedded one knows only what was set."""
    if not names:
        return {}
    configs: dict[str, dict[str, str]] = {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    for response in await admin.describe_configs(resources):
        for error_code, error_message, _, name, entries in response.resources:
            if error_code != NoError.errno:
                raise ConfigurationError(f"the configuration of {name} cannot be read: {error_message or error_code}")
            configs[name] = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
    return configs


async def _create(admin: Any, missing: list[WantedTopic]) -> set[str]:
    """Create topics. Left out of the answer: what another process created meanwhile, what has to be tried again."""
    response = await admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, topic.replication, topic_configs=dict(topic.config))
            for topic in missing
        ]
    )
    created: set[str] = set()
    for name, error_code, *message in response.topic_errors:
        error = for_code(error_code)
        if error is NoError:
            created.add(name)
        elif error is not TopicAlreadyExistsError and not error.retriable:
            detail = " ".join(str(part) for part in message if part)
            raise ConfigurationError(f"the broker refuses to create {name}: {error.__name__} {detail}")
    return created


async def _wait_for_leaders(admin: Any, wanted: tuple[WantedTopic, ...]) -> None:
    """Just after creation brokers still say that a topic or a leader is missing, one broker later than another."""
    while True:
        described = await _described(admin)
        if all(_led(described.get(topic.name)) for topic in wanted):
            return
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


def _led(topic: dict[str, Any] | None) -> bool:
    if topic is None or topic["error_code"] != NoError.errno or not topic["partitions"]:
        return False
    return all(each["error_code"] == NoError.errno and each["leader"] >= 0 for each in topic["partitions"])
