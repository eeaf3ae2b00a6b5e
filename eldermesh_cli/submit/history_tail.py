"""Whether the mesh took a submit, read from the job history: for a host that reaches Kafka and not Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition

from eldermesh.client import SubmittedJob
from eldermesh.client.kafka import end_positions, kafka_errors, read_topics, started_consumer
from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.topics import JOBS_PROGRESS
from eldermesh.kafka.consumer import assign_at
from eldermesh_cli.program.connection import submit_inbox
from services.router.read_model.job import JobAcceptance, JobStateWord
from shared.facts.fact import InboxRecord
from shared.facts.jobs import JobAccepted, JobEnded, decode_job_fact
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings

_POLL_MS = 100

_ENDS: dict[str, JobStateWord] = {
    f"eldermesh.job.{state}.v1": state for state in ("completed", "failed", "cancelled", "rejected")
}


class HistoryTail:
    """The history from where a job's facts can begin.

    Args:
        consumer: started; reads one partition.
        starts: for a new job where the partitions ended before it was sent; empty for one that may be known already.
        topic: full name of the history.
        partitions: of the history.
    """

    def __init__(self, consumer: Any, starts: Mapping[TopicPartition, int], topic: str, partitions: int) -> None:
        self._consumer = consumer
        self._starts = starts
        self._topic = topic
        self._partitions = partitions
        self._is_assigned = False
        self._known: JobAcceptance | None = None
        self._was_judged = False

    async def acceptance(self, sent: SubmittedJob) -> JobAcceptance | None:
        """The acceptance of this job, by this submit or an earlier one; None until admission has taken this one.

        `state` is `accepted`, or how the job has ended: what comes between is known to Redis.

        Raises:
            MeshUnavailableError: the broker does not answer.
        """
        async with kafka_errors(f"{self._topic} cannot be read"):
            if not self._is_assigned:
                partition = TopicPartition(self._topic, partition_of(sent.job_id, self._partitions))
                assign_at(self._consumer, {partition: self._starts.get(partition, 0)})
                self._is_assigned = True
            for records in (await self._consumer.getmany(timeout_ms=_POLL_MS)).values():
                for record in records:
                    if record.key == sent.job_id.encode():
                        self._read(sent, record)
        return self._known if self._was_judged else None

    def _read(self, sent: SubmittedJob, record: Any) -> None:
        """The first acceptance of an id makes the job; where retention has taken it, the end stands for it."""
        fact_type = header_text(record.headers, "ce_type")
        if fact_type not in (JobAccepted.fact_type, JobEnded.fact_type):
            return
        fact = decode_job_fact(fact_type, record.value)
        if isinstance(fact, JobAccepted):
            ours = InboxRecord(topic=sent.topic, partition=sent.partition, offset=sent.offset)
            self._was_judged |= fact.inbox == ours
            if self._known is None:
                self._known = JobAcceptance(fact.content_hash, fact.trace_id, "accepted", fact.items_total)
        elif isinstance(fact, JobEnded):
            trace_id = sent.trace_id if self._known is None else self._known.trace_id
            items_total = None if self._known is None else self._known.items_total
            self._known = JobAcceptance(fact.content_hash, trace_id, _ENDS[fact.event_type], items_total)


@asynccontextmanager
async def history_tail(settings: Settings, job: JobSubmit) -> AsyncIterator[HistoryTail]:
    """The history as it is before `job` is sent.

    Raises:
        MeshUnavailableError, TopicsMissingError: there is no broker, or no mesh on it.
    """
    topics = await read_topics(settings.kafka, settings.topic_prefix, inbox=submit_inbox(settings))
    topic, count = settings.topic(JOBS_HISTORY), topics.partitions[JOBS_PROGRESS]
    starts: Mapping[TopicPartition, int] = {}
    if job.job_id is None and job.idempotency_key is None:
        partitions = [TopicPartition(topic, number) for number in range(count)]
        starts = await end_positions(settings.kafka, partitions)
    async with started_consumer(settings.kafka) as consumer:
        yield HistoryTail(consumer, starts, topic, count)
