"""Dead letters as `mesh dlq` answers: filtered, newest first, a page at a time, or one of them whole."""

from __future__ import annotations

import base64
import heapq
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from eldermesh.client.kafka import PublicTopics, read_topics
from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.times import format_time
from eldermesh.contract.vocabulary import DeadLetterType
from eldermesh_cli.answers.jobs import DeadLetterAnswer, DeadLetterList
from eldermesh_cli.dead_letters.topic import DeadLetter, read_dead_letters
from eldermesh_cli.program.errors import usage_error
from shared.settings import Settings


class LetterPlace(NamedTuple):
    """Where a dead letter stands in the list. `time_ms` is milliseconds since 1970."""

    time_ms: int
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class LetterQuery:
    """Which dead letters, how many at most, and before which place. `topic` is without prefix."""

    limit: int
    error_type: DeadLetterType | None = None
    topic: str | None = None
    job_id: str | None = None
    before: LetterPlace | None = None


async def list_letters(settings: Settings, query: LetterQuery) -> DeadLetterList:
    """One page. Every dead letter is read, the page and one more are kept.

    Raises:
        TopicsMissingError: the broker has no mesh under this prefix.
        MeshUnavailableError: the broker does not answer.
    """
    topics = await read_topics(settings.kafka, settings.topic_prefix)
    newest: list[tuple[LetterPlace, DeadLetterAnswer]] = []
    async for letter in read_dead_letters(settings.kafka, topics):
        place = LetterPlace(letter.time_ms, letter.partition, letter.offset)
        if (query.before is None or place < query.before) and _matches(letter, query, topics):
            heapq.heappush(newest, (place, letter_answer(letter)))
            if len(newest) > query.limit + 1:
                heapq.heappop(newest)
    page = sorted(newest, key=lambda each: each[0], reverse=True)
    more = len(page) > query.limit
    return DeadLetterList(
        records=[answer for _, answer in page[: query.limit]],
        next_cursor=".".join(map(str, page[query.limit - 1][0])) if more else None,
    )


async def find_letter(settings: Settings, *, position: tuple[int, int] | None, job_id: str | None) -> DeadLetter | None:
    """The dead letter at a partition and offset, or the latest of a job.

    Raises:
        TopicsMissingError: the broker has no mesh under this prefix.
        MeshUnavailableError: the broker does not answer.
    """
    topics = await read_topics(settings.kafka, settings.topic_prefix)
    found: DeadLetter | None = None
    async with aclosing(read_dead_letters(settings.kafka, topics)) as letters:
        async for letter in letters:
            if (letter.partition, letter.offset) == position:
                return letter
            if job_id is not None and letter.key == job_id and (found is None or letter.time_ms >= found.time_ms):
                found = letter
    return found


def letter_answer(letter: DeadLetter, *, with_original: bool = False) -> DeadLetterAnswer:
    """A dead letter as JSON; the original's bytes and headers on demand only."""
    provenance = letter.provenance
    answer = DeadLetterAnswer(
        position=f"{letter.partition}/{letter.offset}",
        recorded_at=format_time(letter.time_ms),
        key=letter.key,
        error_type=provenance.error_type,
        reason=provenance.reason,
        topic=provenance.topic,
        partition=provenance.partition,
        offset=provenance.offset,
        traceparent=header_text(letter.headers, "traceparent"),
        size_bytes=len(letter.value),
    )
    if not with_original:
        return answer
    return answer.model_copy(
        update={
            "headers": [(name, value.decode("utf-8", "backslashreplace")) for name, value in letter.headers],
            "value": _text(letter.value),
            "value_base64": base64.b64encode(letter.value).decode(),
        }
    )


def read_cursor(text: str) -> LetterPlace:
    """Read a cursor back.

    Raises:
        CliError: it is none.
    """
    try:
        time_ms, partition, offset = map(int, text.split("."))
    except ValueError as error:
        raise usage_error(f"{text!r} is no cursor", "take `next_cursor` of an earlier `mesh dlq ls --json`") from error
    return LetterPlace(time_ms, partition, offset)


def read_position(text: str) -> tuple[int, int]:
    """Read a position, `partition/offset`.

    Raises:
        CliError: it is none.
    """
    try:
        partition, offset = map(int, text.split("/"))
    except ValueError as error:
        raise usage_error(f"{text!r} is no partition/offset", "`mesh dlq ls` shows them") from error
    return partition, offset


def _matches(letter: DeadLetter, query: LetterQuery, topics: PublicTopics) -> bool:
    return (
        query.error_type in (None, letter.provenance.error_type)
        and (query.topic is None or letter.provenance.topic in (query.topic, topics.name(query.topic)))
        and query.job_id in (None, letter.key)
    )


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
