"""Dead letters as they lie on `jobs.dead`, with the time and place at which they lie there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from eldermesh.client.kafka import PublicTopics
from eldermesh.contract.cloudevents import CANCEL, DECIDE, header_text
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.tenants import is_job_inbox
from eldermesh.contract.topics import JOBS_DEAD
from eldermesh.kafka.access import KafkaAccess
from eldermesh_cli.program.topic_scan import read_stretches


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `time_ms` is when it was written, milliseconds since 1970."""

    partition: int
    offset: int
    time_ms: int
    key: str | None
    provenance: DeadLetterHeaders
    headers: tuple[tuple[str, bytes], ...]
    value: bytes
    is_of_inbox: bool
    """Whether the original lay where jobs are sent to."""

    @property
    def is_submit(self) -> bool:
        """Whether the original was a submit, or something that nobody could tell from one."""
        # Of other topics (decisions, events of jobs that nobody could read) the key names a job that is well.
        return self.is_of_inbox and header_text(self.headers, "ce_type") not in {CANCEL, DECIDE}

    def __repr__(self) -> str:
        return f"DeadLetter({self.partition}/{self.offset}, {self.provenance.error_type}, {len(self.value)} bytes)"


async def read_dead_letters(kafka: KafkaAccess, topics: PublicTopics) -> AsyncGenerator[DeadLetter, None]:
    """Every dead letter there is now, in order within a partition; a record without provenance is none.

    A caller that stops early has to close the generator (`contextlib.aclosing`).

    Raises:
        MeshUnavailableError: the broker does not answer.
    """
    async with aclosing(read_stretches(kafka, topics.all_partitions(JOBS_DEAD))) as records:
        async for record in records:
            letter = _dead_letter(record, topics.prefix)
            if letter is not None:
                yield letter


async def dead_submit_of(kafka: KafkaAccess, topics: PublicTopics, job_id: str) -> DeadLetter | None:
    """The latest submit under this id that was refused; a conflict is another job's and does not count.

    Raises:
        MeshUnavailableError: the broker does not answer.
    """
    found: DeadLetter | None = None
    async for letter in read_dead_letters(kafka, topics):
        if letter.key != job_id or letter.provenance.error_type == "conflict" or not letter.is_submit:
            continue
        if found is None or letter.time_ms >= found.time_ms:
            found = letter
    return found


def _dead_letter(record: Any, prefix: str) -> DeadLetter | None:
    try:
        provenance = DeadLetterHeaders.decode(record.headers)
    except ValueError:
        return None
    return DeadLetter(
        partition=record.partition,
        offset=record.offset,
        time_ms=record.timestamp,
        key=None if record.key is None else record.key.decode("utf-8", "backslashreplace"),
        provenance=provenance,
        headers=tuple((name, value or b"") for name, value in record.headers),
        value=record.value or b"",
        is_of_inbox=is_job_inbox(provenance.topic.removeprefix(prefix)),
    )
