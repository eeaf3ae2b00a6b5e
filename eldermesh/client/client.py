"""The client: submit jobs, decide on them, wait for ends, read results, over the public topics alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from eldermesh.client.errors import ClientError, ContractBrokenError, TopicsMissingError, WaitTimeoutError
from eldermesh.client.feed import OutcomeFeed
from eldermesh.client.kafka import (
    Positions,
    PublicTopics,
    SubmittingProducer,
    check_partitions,
    end_positions,
    kafka_errors,
    read_topics,
    seen_by,
    started_consumer,
    started_producer,
)
from eldermesh.client.progress_sequence import ProgressSequence
from eldermesh.client.prompts import Prompts, SentRequest
from eldermesh.client.result_order import in_order
from eldermesh.client.send_span import send_span
from eldermesh.client.submission import (
    SentRecord,
    SubmittedJob,
    check_size,
    checked,
    checked_inbox,
    command_headers,
    encode,
    identified_job,
    identified_request,
)
from eldermesh.client.topic_reader import public_record
from eldermesh.contract.claude_commands import ClaudeCancel, ClaudeRequest
from eldermesh.contract.claude_output import ClaudeEnd, ClaudeOutput
from eldermesh.contract.cloudevents import CANCEL, CLAUDE_CANCEL, CLAUDE_REQUEST, DECIDE, SUBMIT, Headers
from eldermesh.contract.commands import JobCancel, JobDecide, JobSubmit
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.results import ItemResult, JobProgress
from eldermesh.contract.topics import (
    CLAUDE_OUTPUT,
    CLAUDE_REQUESTS,
    JOBS,
    JOBS_DEAD,
    JOBS_DECISIONS,
    JOBS_DONE,
    JOBS_PROGRESS,
)
from eldermesh.contract.vocabulary import Decision
from eldermesh.kafka.access import KafkaAccess, KafkaSecurity
from eldermesh.kafka.consumer import assign_at
from eldermesh.kafka.replacing_producer import OutgoingRecord

DEFAULT_TIMEOUT_SECONDS = 3600.0
_POLL_MS = 100


@dataclass(frozen=True, slots=True)
class _Open:
    """What an entered client works with. `since`: where results, ends and dead letters stood when it was entered."""

    topics: PublicTopics
    producer: SubmittingProducer
    since: Positions
    feed: OutcomeFeed
    prompts: Prompts


class Client:
    """An asynchronous client of one mesh. Use it as `async with Client("127.0.0.1:9092") as client`.

    Any number of tasks may use one client at once. It reads ends and dead letters with one consumer however many jobs
    are waited for; each running `progress` or `results` has a consumer of its own.

    Args:
        bootstrap: Kafka bootstrap servers, `host:port`, comma separated.
        topic_prefix: what the mesh puts before its topic names (`MESH_TOPIC_PREFIX`).
        partitions: partitions of results and ends, if the caller wants them checked; else whatever the broker says.
        source: `ce_source` of what this client sends.
        tenant: jobs and cancels go to the inbox of this tenant, `jobs.<tenant>`, and not to `jobs`; all jobs are the
            tenant's.
        security: TLS and login of Kafka, if it asks for them.

    Raises:
        KafkaSecurityError: a file of `security` cannot be used.
        InvalidJobError: this tenant cannot have an inbox.
    """

    def __init__(
        self,
        bootstrap: str,
        topic_prefix: str = "",
        partitions: int | None = None,
        *,
        source: str = "/eldermesh/client",
        tenant: str | None = None,
        security: KafkaSecurity | None = None,
    ) -> None:
        self._kafka = KafkaAccess(bootstrap, security)
        self._prefix = topic_prefix
        self._partitions = partitions
        self._source = source
        self._tenant = tenant
        self._inbox = JOBS if tenant is None else checked_inbox(tenant)
        self._stack = AsyncExitStack()
        self._entered: _Open | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            AccessRefusedError: the broker refuses this client.
            MeshUnavailableError: the broker does not answer.
            TopicsMissingError: there is no mesh under this prefix.
            ClientError: the number of partitions is not the expected one.
        """
        async with AsyncExitStack() as stack:
            topics = await read_topics(self._kafka, self._prefix, inbox=self._inbox)
            check_partitions(topics, self._partitions)
            producer = await stack.enter_async_context(started_producer(self._kafka))
            followed = (JOBS_PROGRESS, JOBS_DONE, JOBS_DEAD, CLAUDE_OUTPUT)
            there = [name for name in followed if name in topics.partitions]
            since = await end_positions(self._kafka, [each for name in there for each in topics.all_partitions(name)])
            outcomes = [*topics.all_partitions(JOBS_DONE), *topics.all_partitions(JOBS_DEAD)]
            feed = OutcomeFeed(self._kafka, topics, {each: since[each] for each in outcomes}, inbox=self._inbox)
            stack.push_async_callback(feed.close)
            self._entered = _Open(topics, producer, since, feed, Prompts(self._kafka, topics, since))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections; what still waits fails with `ClientError`."""
        self._entered = None
        await self._stack.aclose()

    async def submit(self, job: JobSubmit | None = None, /, **fields: Any) -> SubmittedJob:
        """Send one job, given as a `JobSubmit` or by its fields, and return once Kafka has acknowledged it.

        Whether the mesh accepts it, only its end or its dead letter tells: see `wait`. Without `job_id` and
        `idempotency_key` each call makes a new job.

        Raises:
            InvalidJobError: the job breaks the contract; nothing was sent.
            RecordTooLargeError: it is above 256 KiB as a record; nothing was sent.
            MeshUnavailableError: not acknowledged; the record may or may not be there.
        """
        opened = self._opened()
        known = identified_job(job, fields, tenant=self._tenant)
        value = encode(known.command)
        with send_span(opened.topics.name(self._inbox), known.subject, inbox=self._inbox) as span:
            headers = command_headers(SUBMIT, self._source, known.subject, span.carrier)
            check_size(value, headers)
            followed = opened.feed.follow(known.subject, fresh=known.fresh)
            ends_before = 0
            if not known.fresh:
                done = opened.topics.partition_of(JOBS_DONE, known.subject)
                ends_before = (await end_positions(self._kafka, [done]))[done]
            sent = await self._send(opened, known.subject, value, headers, inbox=self._inbox)
            followed.sent(sent, ends_before=ends_before)
        trace_id = span.trace_id or trace_id_of(known.subject)
        return SubmittedJob(known.subject, sent.topic, sent.partition, sent.offset, trace_id)

    async def cancel(self, job_id: str, reason: str | None = None) -> SentRecord:
        """Ask that a job ends cancelled, and return once Kafka has acknowledged that. The end comes by `wait`.

        Raises:
            InvalidJobError: `job_id` is no lower-case UUID, or the reason is too long.
            MeshUnavailableError: not acknowledged.
        """
        command = checked(JobCancel, job_id=job_id, reason=reason)
        return await self._send_command(self._opened(), CANCEL, job_id, command, inbox=self._inbox)

    async def approve(self, job_id: str, by: str, reason: str | None = None) -> SentRecord:
        """Let a held job go on, and return once Kafka has acknowledged that.

        Whether it counts, `jobs.holds` or a dead letter tells: the job has to be held, and `by` must not be who
        submitted it.

        Raises:
            InvalidJobError: `job_id` is no lower-case UUID, `by` is empty, or one of the texts is too long.
            TopicsMissingError: the mesh has no inbox of decisions.
            MeshUnavailableError: not acknowledged.
        """
        return await self._decide("approve", job_id, by, reason)

    async def reject(self, job_id: str, by: str, reason: str | None = None) -> SentRecord:
        """End a held job as rejected, and return once Kafka has acknowledged that; see `approve`.

        Raises:
            InvalidJobError, TopicsMissingError, MeshUnavailableError: see `approve`.
        """
        return await self._decide("reject", job_id, by, reason)

    async def wait(self, job_id: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> JobEnd:
        """Wait for the end of a job, of this client or of any other.

        Raises:
            JobDeadError: its submit was refused.
            WaitTimeoutError: it has not ended within `timeout_seconds`; it goes on.
            MeshUnavailableError: the broker does not answer.
            ContractBrokenError: the end cannot be read.
        """
        opened = self._opened()
        scope = asyncio.timeout(timeout_seconds)
        try:
            async with scope:
                return await opened.feed.end_of(job_id)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise WaitTimeoutError(f"job {job_id} has not ended within {timeout_seconds:g} s") from error

    async def progress(
        self, job_id: str, from_sequence: int = 1, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> AsyncGenerator[JobProgress, None]:
        """The progress records of a job as they come: in order, each once, without gaps, until all of them are there.

        Raises:
            JobDeadError: its submit was refused.
            WaitTimeoutError: not everything was there within `timeout_seconds`, not counting what the caller does
                between two records.
            MeshUnavailableError: the broker does not answer.
            ContractBrokenError: a record cannot be read, or is missing.
        """
        if from_sequence < 1:
            raise ValueError("from_sequence counts from 1")
        opened = self._opened()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        sequence = ProgressSequence(from_sequence)
        partition = opened.topics.partition_of(JOBS_PROGRESS, job_id)
        start = opened.since[partition] if opened.feed.is_fresh(job_id) else 0
        ending = asyncio.create_task(opened.feed.end_of(job_id), name=f"end of {job_id}")
        try:
            async with started_consumer(self._kafka) as consumer, kafka_errors("jobs.progress cannot be read"):
                assign_at(consumer, {partition: start})
                while not (ending.done() and sequence.complete(ending.result().progress_records_total)):
                    for record in (await consumer.getmany(timeout_ms=_POLL_MS)).get(partition, ()):
                        if record.key == job_id.encode():
                            for progress in sequence.add(public_record(opened.topics, record)):
                                handed_out = loop.time()
                                yield progress
                                deadline += loop.time() - handed_out
                    if loop.time() > deadline:
                        raise WaitTimeoutError(
                            f"job {job_id} has not shown all results within {timeout_seconds:g} s; "
                            f"the next would have been sequence {sequence.next}"
                        )
        finally:
            ending.cancel()
            await asyncio.wait([ending])
            if not ending.cancelled():
                ending.exception()  # told above, or nobody listens any more

    def results(
        self, job_id: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> AsyncGenerator[ItemResult, None]:
        """All results of a job in ascending order of `item_index` (stage by stage), each once.

        Each comes as soon as those before it are there. What is ahead of its turn waits in a temporary file, so this
        takes little memory however many results there are. Who needs no order reads `progress`.

        Raises:
            JobDeadError: its submit was refused.
            WaitTimeoutError: not everything was there within `timeout_seconds`, not counting what the caller does
                between two results.
            MeshUnavailableError: the broker does not answer.
            ContractBrokenError: a record cannot be read, or is missing.
            TemporaryFileError: there is no room for what waits.
        """
        return in_order(self.progress(job_id, timeout_seconds=timeout_seconds))

    async def prompt(self, prompt: str | ClaudeRequest | None = None, /, **fields: Any) -> SentRequest:
        """Send one prompt to be run on its own, and return once Kafka has acknowledged it.

        Whether the mesh accepts it, only its output, its end or its dead letter tells: see `output` and `answer`.
        Without `request_id` and `idempotency_key` each call makes a new request.

        Raises:
            InvalidJobError: the request breaks the contract; nothing was sent.
            RecordTooLargeError: it is above 256 KiB as a record; nothing was sent.
            TopicsMissingError: the mesh has no topics for prompts.
            MeshUnavailableError: not acknowledged; the record may or may not be there.
        """
        opened = self._opened()
        opened.prompts.check()
        known = identified_request(prompt, fields)
        value = encode(known.command)
        with send_span(opened.topics.name(CLAUDE_REQUESTS), known.subject, inbox=CLAUDE_REQUESTS) as span:
            headers = command_headers(CLAUDE_REQUEST, self._source, known.subject, span.carrier)
            check_size(value, headers)
            since = await opened.prompts.positions(known)
            sent = await self._send(opened, known.subject, value, headers, inbox=CLAUDE_REQUESTS)
            opened.prompts.sent(known, sent, since)
        trace_id = span.trace_id or trace_id_of(known.subject)
        return SentRequest(known.subject, sent.topic, sent.partition, sent.offset, trace_id)

    async def output(
        self,
        request_id: str,
        from_sequence: int = 1,
        *,
        attempt: int = 1,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> AsyncGenerator[ClaudeOutput | ClaudeEnd, None]:
        """What a prompt's CLI says, as it comes, in order and without gaps; its end is the last.

        To go on after a break, give the `attempt` and the `sequence` + 1 of the last record that you have. When a
        record of a higher attempt comes, what the older one said is void.

        Raises:
            RequestDeadError: the request was refused.
            WaitTimeoutError: it has not ended within `timeout_seconds`; it goes on.
            MeshUnavailableError: the broker does not answer.
            ContractBrokenError: a record cannot be read.
        """
        following = self._opened().prompts.follow(
            request_id, from_sequence=from_sequence, attempt=attempt, timeout_seconds=timeout_seconds
        )
        async with aclosing(following) as records:
            async for record in records:
                yield record

    async def answer(self, request_id: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> ClaudeEnd:
        """Wait for the end of a prompt.

        Raises:
            RequestDeadError, WaitTimeoutError, MeshUnavailableError, ContractBrokenError: see `output`.
        """
        async with aclosing(self.output(request_id, timeout_seconds=timeout_seconds)) as records:
            async for record in records:
                if isinstance(record, ClaudeEnd):
                    return record
        raise ContractBrokenError(f"the output of request {request_id} has no end")

    async def cancel_prompt(self, request_id: str, reason: str | None = None) -> SentRecord:
        """Ask that a prompt ends cancelled, and return once Kafka has acknowledged that. The end comes by `answer`.

        Raises:
            InvalidJobError: `request_id` is no lower-case UUID, or the reason is too long.
            MeshUnavailableError: not acknowledged.
        """
        opened = self._opened()
        opened.prompts.check()
        command = checked(ClaudeCancel, request_id=request_id, reason=reason)
        return await self._send_command(opened, CLAUDE_CANCEL, request_id, command, inbox=CLAUDE_REQUESTS)

    async def _decide(self, decision: Decision, job_id: str, by: str, reason: str | None) -> SentRecord:
        command = checked(JobDecide, job_id=job_id, decision=decision, by=by, reason=reason)
        opened = self._opened()
        if JOBS_DECISIONS not in opened.topics.partitions:
            raise TopicsMissingError(
                f"the mesh has no topic for decisions{seen_by(self._kafka)}: run `mesh topics apply`"
            )
        return await self._send_command(opened, DECIDE, job_id, command, inbox=JOBS_DECISIONS)

    async def _send_command(
        self,
        opened: _Open,
        event_type: str,
        subject: str,
        command: JobCancel | JobDecide | ClaudeCancel,
        *,
        inbox: str,
    ) -> SentRecord:
        value = encode(command)
        with send_span(opened.topics.name(inbox), subject, inbox=inbox) as span:
            headers = command_headers(event_type, self._source, subject, span.carrier)
            return await self._send(opened, subject, value, headers, inbox=inbox)

    def _opened(self) -> _Open:
        if self._entered is None:
            raise ClientError("the client is not open: use it as `async with Client(…) as client`")
        return self._entered

    @staticmethod
    async def _send(opened: _Open, subject: str, value: bytes, headers: Headers, *, inbox: str) -> SentRecord:
        to = opened.topics.partition_of(inbox, subject)
        record = OutgoingRecord(to.topic, value, subject.encode(), to.partition, headers)
        (sent,) = await opened.producer.send_all([record])
        return SentRecord(sent.topic, sent.partition, sent.offset)
