"""The admin client: starting and closing it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from eldermesh.kafka.errors import translate_errors
from eldermesh.kafka.lifecycle import start_whole, stop_whole


class WholeAdminClient(AIOKafkaAdminClient):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's admin client; `start` and `close` leave nothing behind, even when cancelled.

    Where Kafka does not answer, each method raises `KafkaUnavailableError`.
    """

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaRefusedError: a broker refuses this client; it is closed.
            KafkaUnavailableError: not connected; the client is closed.
        """
        with translate_errors():
            await start_whole(self, super().start)

    async def close(self) -> None:
        """Disconnect."""
        await stop_whole(self, super().close)

    async def describe_cluster(self) -> dict[str, Any]:
        """The cluster's metadata, with its `brokers`."""
        with translate_errors():
            described: dict[str, Any] = await super().describe_cluster()
        return described

    async def describe_topics(self) -> list[dict[str, Any]]:
        """Metadata of all topics. None is asked for by name: the embedded broker would create it."""
        with translate_errors():
            described: list[dict[str, Any]] = await super().describe_topics()
        return described

    async def list_topics(self) -> list[str]:
        """The names of all topics."""
        with translate_errors():
            names: list[str] = await super().list_topics()
        return names

    async def describe_configs(self, resources: Sequence[Any]) -> list[Any]:
        """The broker's answers about `ConfigResource`s."""
        with translate_errors():
            answers: list[Any] = await super().describe_configs(resources)
        return answers

    async def create_topics(self, topics: Sequence[Any]) -> Any:
        """The broker's answer to `NewTopic`s: an error code for each."""
        with translate_errors():
            return await super().create_topics(topics)

    async def describe_consumer_groups(self, groups: Sequence[str]) -> list[Any]:
        """The brokers' answers about groups, by their full names."""
        with translate_errors():
            answers: list[Any] = await super().describe_consumer_groups(groups)
        return answers
