"""What became of one job, as far as `jobs.done` and `jobs.dead` have been read. Pure: no broker is asked here."""

from __future__ import annotations

import asyncio
import time

from pydantic import ValidationError

from eldermesh.client.errors import ContractBrokenError, JobDeadError
from eldermesh.client.submission import SentRecord
from eldermesh.contract.cloudevents import CANCEL, DECIDE
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.records import PublicRecord

CONFLICT_GRACE_SECONDS = 2.0
"""A repeated submit leaves no trace, a conflicting one leaves a dead letter, which may come so long after sending."""

_MAX_LETTERS = 100


class FollowedJob:
    """The end and the dead letters of one job, in whatever order they are read.

    A dead letter under the job's id need not be this submit's: it can be an invalid cancel, another submit of the id
    with other content, or a record of another topic than the inbox, be it another tenant's or one on which a service
    failed. So for a submit of our own only the letter with its coordinates counts, and then also against an end, which
    is the other job's. For any other job a refused submit of the inbox counts if all that was there is read and no end
    was among it.

    Args:
        job_id: the job.
        fresh: nothing of the job can be on the topics before the position from which they are followed.
        inbox: full name of the topic that its submit goes to.
    """

    def __init__(self, job_id: str, *, fresh: bool, inbox: str) -> None:
        self.job_id = job_id
        self._inbox = inbox
        self.settled = asyncio.Event()
        """Set when `outcome` has something to say."""
        self.refused = asyncio.Event()
        """Set when the dead letter of our own submit is there."""
        self._fresh = fresh
        self._past_read = fresh
        self._own: SentRecord | None = None
        self._sent_at = 0.0
        self._ends_before: int = 0
        self._end: JobEnd | None = None
        self._end_offset = 0
        self._broken: str | None = None
        self._letters: dict[SentRecord, DeadLetterHeaders] = {}

    @property
    def fresh(self) -> bool:
        """Whether nothing of the job can lie before the followed positions, because its id was made after them."""
        return self._fresh

    @property
    def past_read(self) -> bool:
        """Whether all that was on the topics before they are followed has been seen."""
        return self._past_read

    def sent(self, record: SentRecord, *, ends_before: int) -> None:
        """Our own submit lies at `record`; an end below the offset `ends_before` on `jobs.done` is older than it."""
        self._own = record
        self._sent_at = time.monotonic()
        self._ends_before = ends_before
        self.refused.clear()
        self._judge()

    def all_past_seen(self) -> None:
        """Everything from the topics' start to the followed positions has been shown."""
        self._past_read = True
        self._judge()

    def see_end(self, record: PublicRecord) -> None:
        """A record of `jobs.done` with this job's key."""
        if self._end is None:
            try:
                self._end = JobEnd.model_validate(parse_ijson(record.value or b"", whole_doubles=True))
                self._end_offset = record.offset
            except (UndecodableJsonError, ValidationError) as error:
                self._broken = f"the end of job {self.job_id} on jobs.done cannot be read: {error}"
        self._judge()

    def see_letter(self, record: PublicRecord) -> None:
        """A record of `jobs.dead` with this job's key."""
        try:
            letter = DeadLetterHeaders.decode(record.headers)
        except ValueError:
            return  # whoever wrote this, it says nothing about the job
        if letter.topic == self._inbox and record.header("ce_type") not in {CANCEL, DECIDE}:
            if len(self._letters) >= _MAX_LETTERS:
                del self._letters[next(iter(self._letters))]
            self._letters[SentRecord(letter.topic, letter.partition, letter.offset)] = letter
        self._judge()

    def grace_seconds(self) -> float:
        """How long to wait for a conflict, although there is an end: it is older than our own submit."""
        if self._own is None or self._end is None or self._end_offset >= self._ends_before or self.refused.is_set():
            return 0.0
        return max(0.0, self._sent_at + CONFLICT_GRACE_SECONDS - time.monotonic())

    def outcome(self) -> JobEnd | None:
        """The end, or None while there is none.

        Raises:
            JobDeadError: the submit was refused.
            ContractBrokenError: the end cannot be read.
        """
        letter = self._deciding_letter()
        if letter is not None:
            raise JobDeadError(self.job_id, letter.error_type, letter.reason)
        if self._end is None and self._broken is not None:
            raise ContractBrokenError(self._broken)
        return self._end

    def _deciding_letter(self) -> DeadLetterHeaders | None:
        if self._own is not None:
            return self._letters.get(self._own)
        if self._end is not None or not self._past_read:
            return None
        return next((letter for letter in self._letters.values() if letter.error_type != "conflict"), None)

    def _judge(self) -> None:
        if self._own is not None and self._own in self._letters:
            self.refused.set()
        if self._end is not None or self._broken is not None or self._deciding_letter() is not None:
            self.settled.set()
        else:
            self.settled.clear()
