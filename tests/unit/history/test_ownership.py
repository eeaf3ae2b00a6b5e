"""Whatever the group gives while its member comes or goes: without a member nobody owns a partition."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaConnectionError

from eldermesh.kafka.errors import KafkaUnavailableError
from shared.history import ownership
from shared.history.ownership import Ownership
from shared.settings import Settings

TOPIC = "jobs.history"


class PlayedMember:
    """A member of a group that gives it a partition while it joins or leaves."""

    def __init__(
        self,
        *,
        joins: bool = True,
        answers: bool = True,
        given_at_start: bool = False,
        given_at_stop: bool = False,
    ) -> None:
        self._joins = joins
        self._answers = answers
        self._given_at_start = given_at_start
        self._given_at_stop = given_at_stop
        self._listener: Any = None
        self.owners_at_start: list[str] | None = None

    def subscribe(self, _topics: list[str], listener: ConsumerRebalanceListener) -> None:
        """Remember whom to tell."""
        self._listener = listener

    def pause(self, *_: TopicPartition) -> None:
        """Nothing is read."""

    async def start(self) -> None:
        """Join, or fail to."""
        self.owners_at_start = _owners()
        if self._given_at_start:
            await self._listener.on_partitions_assigned([TopicPartition(TOPIC, 0)])
        if not self._joins:
            raise KafkaUnavailableError(KafkaConnectionError())

    async def getmany(self, **_: object) -> dict[Any, Any]:
        """Nothing comes, or the group is in trouble."""
        if not self._answers:
            raise KafkaUnavailableError(KafkaConnectionError())
        await asyncio.Event().wait()
        return {}

    async def stop(self) -> None:
        """Leave."""
        if self._given_at_stop:
            await self._listener.on_partitions_assigned([TopicPartition(TOPIC, 0)])


class SilentLog:
    """The log of a partition whose broker does not answer."""

    def __init__(self, *_: object) -> None:
        pass

    async def start(self) -> None:
        """Wait."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Nothing was started."""


class StubbornLog(SilentLog):
    """One of a library that swallows a cancellation."""

    async def start(self) -> None:
        """Wait once more."""
        try:
            await super().start()
        except asyncio.CancelledError:
            await super().start()


def _owners() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("owner ")]


def _ownership(patch: pytest.MonkeyPatch, *members: PlayedMember) -> Ownership:
    following = iter(members)
    patch.setattr(ownership, "make_consumer", lambda *_, **__: next(following))
    patch.setattr(ownership, "KafkaPartitionLog", SilentLog)
    make_owner: Any = object
    return Ownership(Settings(_env_file=None), TOPIC, "owners", None, lambda _log, _number: make_owner())


async def test_a_partition_that_comes_while_the_group_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner is stopped, too."""
    owners = _ownership(monkeypatch, PlayedMember(given_at_stop=True))
    await owners.start()
    await owners.stop()
    assert not _owners()


async def test_a_partition_that_came_before_joining_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The member is replaced by one that is given a partition and then fails: when the next one joins, nobody owns."""
    monkeypatch.setattr(ownership, "_SILENT_SECONDS", 0.01)
    monkeypatch.setattr(ownership, "_BACK_OFF_SECONDS", 0.0)
    last = PlayedMember()
    owners = _ownership(monkeypatch, PlayedMember(answers=False), PlayedMember(joins=False, given_at_start=True), last)
    await owners.start()
    async with asyncio.timeout(60):
        while last.owners_at_start is None:  # noqa: ASYNC110 - turns of the loop
            await asyncio.sleep(0)
    await owners.stop()
    assert last.owners_at_start == []


async def test_a_revocation_that_is_broken_off_leaves_no_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library cancels it when the member is stopped: an owner that has not ended by then is stopped again."""
    owners = _ownership(monkeypatch, PlayedMember(given_at_start=True))
    monkeypatch.setattr(ownership, "KafkaPartitionLog", StubbornLog)
    await owners.start()
    revoking = asyncio.create_task(owners.on_partitions_revoked([TopicPartition(TOPIC, 0)]))
    for _ in range(5):
        await asyncio.sleep(0)
    revoking.cancel()
    await asyncio.wait({revoking})
    assert _owners()
    await owners.stop()
    assert not _owners()
