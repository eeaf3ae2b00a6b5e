"""Invariant 8: every submit is accepted and ends once, or repeats an accepted one, or lies on `jobs.dead`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eldermesh.contract.breach import FORM, Breach, JobRecords
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.inbox import Coordinates, InboxSubmit
from eldermesh.contract.record_form import read_dead_letter
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.tenants import is_job_inbox

Letters = dict[Coordinates, DeadLetterHeaders]
"""Dead letters by the coordinates of their originals."""

Inbox = dict[Coordinates, tuple[PublicRecord, InboxSubmit | str | None]]
"""The records that were sent to inboxes of jobs, and what `read_submit` says of them."""


def coordinates_of(letter: DeadLetterHeaders, topic_prefix: str) -> Coordinates:
    """Where the original of a dead letter lies."""
    return letter.topic.removeprefix(topic_prefix), letter.partition, letter.offset


def unaccounted(job: JobRecords, letters: Letters, *, settled: bool) -> Iterator[Breach]:
    """What the ledger has against one job."""
    if not job.accepted and not job.refused:
        yield Breach(8, job.job_id, "is on the public topics, but was never submitted")
        return
    contents = {each.content_hash for each in job.accepted}
    if settled and len(contents) > 1:
        yield Breach(8, job.job_id, f"{len(contents)} submits with different content, none of them in jobs.dead")
    if settled and job.accepted and job.end is None:
        yield Breach(8, job.job_id, f"the submit at {_place(job.accepted[0])} has neither an end nor a dead letter")
    if not job.accepted and (job.end is not None or job.progress):
        yield Breach(8, job.job_id, "has results or an end, although all its submits are in jobs.dead")
    for each in job.refused:
        letter = letters[each.coordinates]
        if letter.error_type == "conflict" and each.content_hash in contents:
            yield Breach(8, job.job_id, f"the submit at {_place(each)} repeats an accepted one, yet is a conflict")


def _place(submit: InboxSubmit) -> str:
    return "/".join(map(str, submit.coordinates))


def invalid_without_letter(inbox: Inbox, letters: Letters) -> Iterator[Breach]:
    """What is no valid command has to be in `jobs.dead`."""
    for coordinates, (record, read) in inbox.items():
        if isinstance(read, str) and coordinates not in letters:
            yield Breach(8, record.key_text(), f"{record!r} is invalid ({read}), and not in jobs.dead")


def altered_originals(dead: Iterable[PublicRecord], inbox: Inbox, topic_prefix: str) -> Iterator[Breach]:
    """Dead letters that do not carry the original's bytes, key and headers; a truncated one says so itself."""
    for record in dead:
        letter, _ = read_dead_letter(record)
        if letter is None or not is_job_inbox(letter.topic.removeprefix(topic_prefix)):
            continue
        original, _ = inbox.get(coordinates_of(letter, topic_prefix), (None, None))
        if original is None:
            yield Breach(FORM, record.key_text(), f"{record!r} speaks of a record that is not there: {letter}")
        elif record.header("dlq_truncated_bytes") is None:
            for difference in _differences(record, letter, original):
                yield Breach(FORM, record.key_text(), f"{record!r} is not {original!r}: {difference}")


def _differences(record: PublicRecord, letter: DeadLetterHeaders, original: PublicRecord) -> Iterator[str]:
    if (record.value or b"") != (original.value or b""):
        yield "other bytes"
    if letter.key != original.key:
        yield f"dlq_key {letter.key!r} instead of {original.key!r}"
    kept = {(name, value or b"") for name, value in record.headers}
    theirs = [header for header in original.headers if not header[0].startswith("dlq_")]
    lost = [name for name, value in theirs if (name, value or b"") not in kept]
    if lost:
        yield f"the original headers {lost} are lost"
