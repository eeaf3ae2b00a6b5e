"""Which partitions of a history this process owns: one member of a consumer group, an owner task for each partition."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from redis.exceptions import RedisError

from eldermesh.kafka.errors import KafkaUnavailableError
from shared.errors import LostOwnershipError, RetryableError
from shared.history.history_reader import HistoryReader
from shared.history.kafka_log import KafkaPartitionLog
from shared.history.owner import Owner
from shared.kafka.clients import make_consumer
from shared.kafka.paced_consumer import PacedConsumer
from shared.logs.setup import get_logger
from shared.settings import Settings

_log = get_logger(__name__)

_BACK_OFF_SECONDS = 1.0
_CONFIRM_SECONDS = 10.0
_CANCEL_AGAIN_SECONDS = 5.0
_POLL_MS = 1000
_SILENT_SECONDS = 60.0
"""A member whose polls have failed for so long is replaced by another one."""

MakeOwner = Callable[[KafkaPartitionLog, int], Owner[Any]]


class Ownership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Runs an owner for each partition the group assigns to this member.

    Args:
        settings: of the cluster.
        topic: the history topic's name, without prefix.
        group_id: with prefix.
        producer: started.
        make_owner: builds the owner of a partition.
    """

    def __init__(self, settings: Settings, topic: str, group_id: str, producer: Any, make_owner: MakeOwner) -> None:
        self._settings = settings
        self._topic = topic
        self._producer = producer
        self._make_owner = make_owner
        self._reader = HistoryReader(settings, topic)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._owners: dict[int, Owner[Any]] = {}
        self._failure: BaseException | None = None
        self._group_id = group_id
        self._member: PacedConsumer = make_consumer(settings, group_id=group_id)
        self._keeping: asyncio.Task[None] | None = None
        self._failed = asyncio.Event()

    @property
    def owners(self) -> dict[int, Owner[Any]]:
        """The owners of the partitions held now."""
        return dict(self._owners)

    @property
    def failure(self) -> BaseException | None:
        """What stopped an owner or the membership for good; the service must stop and say so."""
        return self._failure

    async def wait_failed(self) -> BaseException:
        """Wait, without a limit, until an owner or the membership has stopped for good, and return why."""
        await self._failed.wait()
        assert self._failure is not None  # noqa: S101 - for the type checker
        return self._failure

    @property
    def trouble(self) -> str | None:
        """Whose task has ended though nobody stopped it, the member's or an owner's: a library may cancel one."""
        if self._keeping is None or self._keeping.done():
            return f"nobody keeps the membership in {self._group_id}"
        ended = [number for number, task in self._tasks.items() if task.done()]
        return f"the owners of partitions {ended} of {self._topic} have ended" if ended else None

    async def start(self) -> None:
        """Join the group.

        Raises:
            RetryableError: the broker does not answer, or the group did not let it in.
        """
        try:
            await self._join()
        except KafkaUnavailableError as error:
            raise RetryableError(f"the group {self._group_id} cannot be joined: {error!r}") from error
        self._keeping = asyncio.create_task(self._keep_membership(), name=f"member {self._topic}")
        self._keeping.add_done_callback(self._kept)

    async def stop(self) -> None:
        """Stop all owners and leave the group."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        await self._stop_owners(list(self._tasks))
        await self._member.stop()
        await self._stop_owners(list(self._tasks))  # of what the group gave while it was being left

    async def _join(self) -> None:
        self._member.subscribe([self._settings.topic(self._topic)], listener=self)
        await self._member.start()

    async def _keep_membership(self) -> None:
        """Poll, though nothing comes: else the member is expelled, and never learns of its group's errors."""
        while True:
            await self._poll_until_silent()
            _log.error("the group does not answer its member; another one joins", topic=self._topic)
            await self._member.stop()
            await self._stop_owners(list(self._tasks))
            while not await self._joined_again():  # noqa: ASYNC110 - asks a remote group
                await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _joined_again(self) -> bool:
        """Join as another member: one that could not start is closed."""
        self._member = make_consumer(self._settings, group_id=self._group_id)
        try:
            await self._join()
        except (KafkaUnavailableError, OSError) as error:
            _log.warning("the group cannot be joined", topic=self._topic, reason=repr(error))
            await self._stop_owners(list(self._tasks))  # of what it gave before that failed
            return False
        return True

    async def _poll_until_silent(self) -> None:
        """Poll again and again; return once that has failed for long."""
        loop = asyncio.get_running_loop()
        answered_at = loop.time()
        while loop.time() - answered_at < _SILENT_SECONDS:
            try:
                # Records fetched before the pause may come, and are ignored: owners read for themselves.
                await self._member.getmany(timeout_ms=_POLL_MS)
                answered_at = loop.time()
            except KafkaUnavailableError as error:
                _log.warning("the group has trouble", topic=self._topic, reason=repr(error))
                await asyncio.sleep(_BACK_OFF_SECONDS)

    def _kept(self, keeping: asyncio.Task[None]) -> None:
        if not keeping.cancelled() and (error := keeping.exception()) is not None:
            _log.error("membership ended", topic=self._topic, exc_info=error)
            self._failure = error
            self._failed.set()

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """The group takes partitions away (all of them, the assignors being eager)."""
        await self._stop_owners([partition.partition for partition in revoked])

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """The group gives partitions."""
        if assigned:
            self._member.pause(*assigned)
        for partition in assigned:
            number = partition.partition
            await self._stop_owners([number])  # one at most, should the group give it twice
            self._tasks[number] = asyncio.create_task(self._own(number), name=f"owner {self._topic}/{number}")

    async def _stop_owners(self, partitions: Collection[int]) -> None:
        # They stay known until they have ended: whoever waits here may be cancelled, and another one stops them.
        tasks = {number: self._tasks[number] for number in partitions if number in self._tasks}
        while running := {task for task in tasks.values() if not task.done()}:
            # Again and again: a library below may swallow a cancellation, and the group waits for this to end.
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=_CANCEL_AGAIN_SECONDS)
        for number, task in tasks.items():
            if self._tasks.get(number) is task:
                del self._tasks[number]
                self._owners.pop(number, None)

    async def _own(self, number: int) -> None:
        log = KafkaPartitionLog(self._settings, self._topic, number, self._producer, self._reader)
        owner = self._make_owner(log, number)
        self._owners[number] = owner
        started = False
        try:
            while True:
                try:
                    if not started:
                        await log.start()
                        started = True
                    await owner.step(owner.idle_seconds)
                except LostOwnershipError as error:
                    _log.warning("ownership in doubt", topic=self._topic, partition=number, reason=str(error))
                    while not await self._confirmed(number, owner):  # noqa: ASYNC110 - asks a remote group
                        await asyncio.sleep(_BACK_OFF_SECONDS)
                except (RetryableError, RedisError, OSError) as error:
                    _log.warning("owner waits", topic=self._topic, partition=number, reason=repr(error))
                    await asyncio.sleep(_BACK_OFF_SECONDS)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            _log.exception("owner stopped", topic=self._topic, partition=number)
            self._failure = error
            self._failed.set()
            raise
        finally:
            if started:
                with contextlib.suppress(RetryableError):
                    await log.stop()

    async def _confirmed(self, number: int, owner: Owner[Any]) -> bool:
        """Ask the group, by a commit that it refuses to those it has expelled, whether the partition is still ours."""
        partition = TopicPartition(self._settings.topic(self._topic), number)
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await self._member.commit({partition: owner.position})
        except (KafkaUnavailableError, TimeoutError, ValueError) as error:
            _log.warning("assignment not confirmed", topic=self._topic, partition=number, reason=repr(error))
            return False
        return True
