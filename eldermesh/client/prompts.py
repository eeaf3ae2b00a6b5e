"""Prompts on their own: one command of `claude.requests`, and what comes of it on `claude.output`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from eldermesh.client.errors import ContractBrokenError, RequestDeadError, TopicsMissingError, WaitTimeoutError
from eldermesh.client.kafka import Positions, PublicTopics, end_positions, kafka_errors, started_consumer
from eldermesh.client.outcome import CONFLICT_GRACE_SECONDS
from eldermesh.client.output_sequence import OutputSequence
from eldermesh.client.submission import Identified, SentRecord
from eldermesh.client.topic_reader import public_record
from eldermesh.contract.claude_commands import ClaudeRequest
from eldermesh.contract.claude_output import ClaudeEnd, ClaudeOutput
from eldermesh.contract.cloudevents import CLAUDE_CANCEL, CLAUDE_OUTPUT
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.topics import CLAUDE_OUTPUT as OUTPUT_TOPIC
from eldermesh.contract.topics import CLAUDE_REQUESTS, JOBS_DEAD
from eldermesh.kafka.access import KafkaAccess
from eldermesh.kafka.consumer import assign_at

_POLL_MS = 100
_MAX_SENT = 20_000


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request that Kafka has acknowledged; the mesh has not yet judged it. `topic` is the full name of the inbox."""

    request_id: str
    topic: str
    partition: int
    offset: int
    trace_id: str


@dataclass(frozen=True, slots=True)
class _Own:
    """A request that this client has sent. What lies below `since` is older than it."""

    record: SentRecord
    sent_at: float
    since: Positions
    fresh: bool


class Prompts:
    """What a client knows of its requests, and how it follows any.

    Args:
        kafka: the broker.
        topics: the public topics.
        since: where `claude.output` and `jobs.dead` stood when the client began.
    """

    def __init__(self, kafka: KafkaAccess, topics: PublicTopics, since: Positions) -> None:
        self._kafka = kafka
        self._topics = topics
        self._since = since
        self._sent: dict[str, _Own] = {}

    def check(self) -> None:
        """See that the mesh takes prompts.

        Raises:
            TopicsMissingError: it has no topics for them.
        """
        missing = [name for name in (CLAUDE_REQUESTS, OUTPUT_TOPIC) if name not in self._topics.partitions]
        if missing:
            raise TopicsMissingError(f"the broker has no {', '.join(missing)}: run `mesh topics apply`")

    async def positions(self, known: Identified[ClaudeRequest]) -> Positions:
        """Where what comes of a request that is about to be sent begins.

        Raises:
            MeshUnavailableError: the broker does not answer.
        """
        places = self._places(known.subject)
        if known.fresh:
            return {place: self._since[place] for place in places}
        return await end_positions(self._kafka, places)

    def sent(self, known: Identified[ClaudeRequest], record: SentRecord, since: Positions) -> None:
        """A request of ours lies at `record`."""
        if len(self._sent) >= _MAX_SENT:
            del self._sent[next(iter(self._sent))]
        self._sent[known.subject] = _Own(record, time.monotonic(), since, known.fresh)

    async def follow(
        self, request_id: str, *, from_sequence: int, attempt: int, timeout_seconds: float
    ) -> AsyncGenerator[ClaudeOutput | ClaudeEnd, None]:
        """Live output from a place on, in order and without gaps; the end is the last.

        Raises:
            RequestDeadError: the request was refused.
            WaitTimeoutError: it has not ended within `timeout_seconds`; it goes on.
            MeshUnavailableError: the broker does not answer.
            ContractBrokenError: a record cannot be read.
        """
        self.check()
        own = self._sent.get(request_id)
        places = self._places(request_id)
        since = own.since if own is not None else await end_positions(self._kafka, places)
        starts = since if own is not None and own.fresh else dict.fromkeys(places, 0)
        following = _Following(request_id, own, since, OutputSequence(from_sequence, attempt), self._topics)
        deadline = time.monotonic() + timeout_seconds
        async with started_consumer(self._kafka) as consumer, kafka_errors("claude.output cannot be read"):
            assign_at(consumer, starts)
            while True:
                for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                    for record in records:
                        if record.key == request_id.encode():
                            for output in following.take(public_record(self._topics, record)):
                                yield output
                past_read = all([await consumer.position(place) >= end for place, end in since.items()])
                end = following.outcome(past_read=past_read)
                if end is not None:
                    yield end
                    return
                if time.monotonic() > deadline:
                    raise WaitTimeoutError(f"request {request_id} has not ended within {timeout_seconds:g} s")

    def _places(self, request_id: str) -> list[Any]:
        return [self._topics.partition_of(name, request_id) for name in (OUTPUT_TOPIC, JOBS_DEAD)]


class _Following:
    """One request, as far as its records have been read. Pure."""

    def __init__(
        self, request_id: str, own: _Own | None, since: Positions, sequence: OutputSequence, topics: PublicTopics
    ) -> None:
        self._request_id = request_id
        self._own = own
        self._sequence = sequence
        self._inbox = topics.name(CLAUDE_REQUESTS)
        self._ends_before = since[topics.partition_of(OUTPUT_TOPIC, request_id)]
        self._end: ClaudeEnd | None = None
        self._end_is_older = False
        self._letters: list[tuple[SentRecord, DeadLetterHeaders]] = []

    def take(self, record: PublicRecord) -> list[ClaudeOutput]:
        """A record under the request's id; return what is now in turn."""
        if record.topic == JOBS_DEAD:
            self._take_letter(record)
            return []
        try:
            value = parse_ijson(record.value or b"", whole_doubles=True)
            if record.header("ce_type") == CLAUDE_OUTPUT:
                return self._sequence.add(ClaudeOutput.model_validate(value))
            if self._end is None:
                self._end = ClaudeEnd.model_validate(value)
                self._end_is_older = record.offset < self._ends_before
        except (UndecodableJsonError, ValidationError) as error:
            raise ContractBrokenError(f"{record!r} is not what claude.output holds: {error}") from error
        return []

    def outcome(self, *, past_read: bool) -> ClaudeEnd | None:
        """The end, or None while there is none.

        Raises:
            RequestDeadError: the request was refused.
        """
        letter = self._deciding_letter(past_read=past_read)
        if letter is not None:
            raise RequestDeadError(self._request_id, letter.error_type, letter.reason)
        # The end of an earlier request of this id: ours is a repeat, or a conflict that is only told later.
        is_repeat = self._own is not None and not self._own.fresh and self._end_is_older
        if is_repeat and self._own is not None and time.monotonic() < self._own.sent_at + CONFLICT_GRACE_SECONDS:
            return None
        return self._end

    def _take_letter(self, record: PublicRecord) -> None:
        try:
            letter = DeadLetterHeaders.decode(record.headers)
        except ValueError:
            return  # whoever wrote this, it says nothing about the request
        if letter.topic == self._inbox and record.header("ce_type") != CLAUDE_CANCEL:
            self._letters.append((SentRecord(letter.topic, letter.partition, letter.offset), letter))

    def _deciding_letter(self, *, past_read: bool) -> DeadLetterHeaders | None:
        if self._own is not None:
            return next((letter for place, letter in self._letters if place == self._own.record), None)
        if self._end is not None or not past_read:
            return None
        return next((letter for _, letter in self._letters if letter.error_type != "conflict"), None)
