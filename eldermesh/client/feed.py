"""One reader of `jobs.done` and `jobs.dead` for a client, however many jobs it waits for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiokafka import TopicPartition

from eldermesh.client.errors import ClientError
from eldermesh.client.kafka import Positions, PublicTopics, end_positions, kafka_errors, started_consumer
from eldermesh.client.outcome import FollowedJob
from eldermesh.client.topic_reader import public_record, read_range
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.topics import JOBS_DEAD, JOBS_DONE
from eldermesh.kafka.access import KafkaAccess
from eldermesh.kafka.consumer import assign_at

MAX_FOLLOWED = 20_000
"""Jobs whose outcome is remembered; for one that was forgotten the topics are read again from their start."""

_MAX_SCANS = 4
_POLL_MS = 1000


class OutcomeFeed:
    """Reads on from given positions as soon as somebody waits, and keeps what it sees of the jobs it follows.

    Args:
        kafka: the broker.
        topics: the public topics.
        since: where the partitions of `jobs.done` and `jobs.dead` stood when the client began.
        inbox: the topic, without prefix, whose refused submits count.
    """

    def __init__(self, kafka: KafkaAccess, topics: PublicTopics, since: Positions, *, inbox: str) -> None:
        self._inbox = topics.name(inbox)
        self._kafka = kafka
        self._topics = topics
        self._positions: dict[TopicPartition, int] = dict(since)
        self._followed: dict[str, FollowedJob] = {}
        self._awaited: dict[str, int] = {}
        self._scans = asyncio.Semaphore(_MAX_SCANS)
        self._reader: asyncio.Task[None] | None = None

    def follow(self, job_id: str, *, fresh: bool = False) -> FollowedJob:
        """Keep what comes of this job from now on. `fresh`: nothing of it can be on the topics yet."""
        job = self._followed.get(job_id)
        if job is None:
            self._forget_one()
            job = self._followed[job_id] = FollowedJob(job_id, fresh=fresh, inbox=self._inbox)
        return job

    def is_fresh(self, job_id: str) -> bool:
        """Whether nothing of the job can be older than this feed."""
        job = self._followed.get(job_id)
        return job is not None and job.fresh

    async def end_of(self, job_id: str) -> JobEnd:
        """Wait, without a limit of its own, for the job's end.

        Raises:
            JobDeadError: the submit was refused.
            ContractBrokenError: the end cannot be read.
            MeshUnavailableError: the broker does not answer.
        """
        job = self.follow(job_id)
        self._awaited[job_id] = self._awaited.get(job_id, 0) + 1
        try:
            if not job.past_read:
                async with self._scans:
                    await self._read_past(job)
            while True:
                await self._settled(job)
                if grace := job.grace_seconds():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(grace):
                            await job.refused.wait()
                end = job.outcome()
                if end is not None:
                    return end
        finally:
            self._awaited[job_id] -= 1
            if not self._awaited[job_id]:
                del self._awaited[job_id]

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.cancel()
            # What the reader died of was told to whoever waited; nobody waits any more.
            await asyncio.wait([self._reader])

    def _forget_one(self) -> None:
        if len(self._followed) >= MAX_FOLLOWED:
            oldest = next((each for each in self._followed if each not in self._awaited), None)
            if oldest is not None:
                del self._followed[oldest]

    async def _settled(self, job: FollowedJob) -> None:
        reader = self._running_reader()
        settled = asyncio.ensure_future(job.settled.wait())
        try:
            await asyncio.wait({settled, reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            settled.cancel()
        if not job.settled.is_set():
            if reader.cancelled():
                raise ClientError("the client was closed while it waited")
            reader.result()

    def _running_reader(self) -> asyncio.Task[None]:
        """The reader, started again where it stopped if it died."""
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="eldermesh-client-outcomes")
        return self._reader

    async def _read(self) -> None:
        async with started_consumer(self._kafka) as consumer, kafka_errors("jobs.done cannot be read"):
            assign_at(consumer, self._positions)
            while True:
                for partition, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                    for record in records:
                        self._see(public_record(self._topics, record))
                    self._positions[partition] = records[-1].offset + 1

    async def _read_past(self, job: FollowedJob) -> None:
        """Read what was there before the followed positions: the job's partition of ends, and all dead letters."""
        partitions = [self._topics.partition_of(JOBS_DONE, job.job_id), *self._topics.all_partitions(JOBS_DEAD)]
        async with started_consumer(self._kafka) as consumer:
            until = await end_positions(self._kafka, partitions)
            async for record in read_range(consumer, self._topics, until):
                if record.key_text() == job.job_id:
                    self._show(job, record)
        job.all_past_seen()

    def _see(self, record: PublicRecord) -> None:
        job = self._followed.get(record.key_text() or "")
        if job is not None:
            self._show(job, record)

    @staticmethod
    def _show(job: FollowedJob, record: PublicRecord) -> None:
        if record.topic == JOBS_DONE:
            job.see_end(record)
        else:
            job.see_letter(record)
