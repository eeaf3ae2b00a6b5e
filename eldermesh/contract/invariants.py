"""The invariants of the public contract, checked from nothing but the records of the public topics. Pure.

Anyone can do this with the topics alone; so can `mesh audit`, and so does every integration test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from eldermesh.contract.breach import FORM, Breach, JobRecords
from eldermesh.contract.inbox import InboxSubmit, read_submit
from eldermesh.contract.ledger import (
    Inbox,
    Letters,
    altered_originals,
    coordinates_of,
    invalid_without_letter,
    unaccounted,
)
from eldermesh.contract.record_form import read_dead_letter, read_end, read_hold, read_progress
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.tenants import is_job_inbox
from eldermesh.contract.topics import JOBS_DEAD, JOBS_DONE, JOBS_HOLDS, JOBS_PROGRESS


def breaches(
    records: Iterable[PublicRecord], *, topic_prefix: str = "", inbox: bool = True, settled: bool = True
) -> list[Breach]:
    """Check all records of the public topics, each topic from its start.

    Args:
        records: the records, in any order between topics.
        topic_prefix: what dead letters have before topic names.
        inbox: the records include all that was sent to inboxes of jobs; without it invariant 8 is not checked, and of
            invariant 5 only what does not depend on `max_failed_items`.
        settled: nothing is under way any more; otherwise what is merely missing yet is no breach.
    """
    found: list[Breach] = []
    by_topic: dict[str, list[PublicRecord]] = defaultdict(list)
    for record in records:
        by_topic[record.topic].append(record)
    found += _differing_repeats(by_topic[JOBS_PROGRESS] + by_topic[JOBS_DONE] + by_topic[JOBS_HOLDS])
    found += _hold_forms(by_topic[JOBS_HOLDS])
    jobs = _jobs(by_topic, found)
    letters = _letters(by_topic[JOBS_DEAD], topic_prefix, found)
    if inbox:
        sent = [each for topic in by_topic if is_job_inbox(topic) for each in by_topic[topic]]
        read = {(each.topic, each.partition, each.offset): (each, read_submit(each)) for each in sent}
        _add_submits(jobs, read, letters)
        found += altered_originals(by_topic[JOBS_DEAD], read, topic_prefix)
        if settled:
            found += invalid_without_letter(read, letters)
    for job in jobs.values():
        found += _numbers(job)
        found += _sequences(job, settled=settled)
        found += _items(job)
        found += _status(job)
        if inbox:
            found += unaccounted(job, letters, settled=settled)
        elif settled and job.end is None:
            found.append(Breach(8, job.job_id, "has results but no end"))
    return sorted(set(found), key=lambda each: (each.invariant, each.job_id or "", each.detail))


def _differing_repeats(records: Iterable[PublicRecord]) -> Iterator[Breach]:
    """Invariant 1: one `ce_id`, one value."""
    first: dict[str, PublicRecord] = {}
    for record in records:
        event_id = record.header("ce_id")
        if event_id is not None and first.setdefault(event_id, record).value != record.value:
            yield Breach(1, event_id.split(":")[0], f"{event_id} has two values: {first[event_id]!r} and {record!r}")


def _hold_forms(records: Iterable[PublicRecord]) -> Iterator[Breach]:
    for record in records:
        _, problems = read_hold(record)
        yield from (Breach(FORM, record.key_text(), f"{record!r}: {problem}") for problem in problems)


def _jobs(by_topic: dict[str, list[PublicRecord]], found: list[Breach]) -> dict[str, JobRecords]:
    jobs: dict[str, JobRecords] = {}
    for record in by_topic[JOBS_PROGRESS]:
        progress, problems = read_progress(record)
        found += [Breach(FORM, record.key_text(), f"{record!r}: {problem}") for problem in problems]
        if progress is not None:
            job = jobs.setdefault(progress.job_id, JobRecords(progress.job_id))
            job.progress.setdefault(progress.sequence, progress)
    for record in by_topic[JOBS_DONE]:
        end, problems = read_end(record)
        found += [Breach(FORM, record.key_text(), f"{record!r}: {problem}") for problem in problems]
        if end is not None:
            jobs.setdefault(end.job_id, JobRecords(end.job_id)).ends.append(end)
    return jobs


def _letters(records: Iterable[PublicRecord], topic_prefix: str, found: list[Breach]) -> Letters:
    letters: Letters = {}
    for record in records:
        letter, problems = read_dead_letter(record)
        found += [Breach(FORM, record.key_text(), f"{record!r}: {problem}") for problem in problems]
        if letter is not None:
            letters.setdefault(coordinates_of(letter, topic_prefix), letter)
    return letters


def _add_submits(jobs: dict[str, JobRecords], inbox: Inbox, letters: Letters) -> None:
    for coordinates, (_, read) in inbox.items():
        if isinstance(read, InboxSubmit):
            job = jobs.setdefault(read.job_id, JobRecords(read.job_id))
            (job.refused if coordinates in letters else job.accepted).append(read)


def _numbers(job: JobRecords) -> Iterator[Breach]:
    """Invariant 2: succeeded + failed + not run = total. A job that was never ingested has no total."""
    for end in job.ends:
        counted = end.items_succeeded + end.items_failed + (end.items_not_run or 0)
        if (end.items_total is None) != (end.items_not_run is None) or counted != (end.items_total or 0):
            numbers = f"{end.items_succeeded} + {end.items_failed} + {end.items_not_run} is not {end.items_total}"
            yield Breach(2, job.job_id, numbers)


def _sequences(job: JobRecords, *, settled: bool) -> Iterator[Breach]:
    """Invariants 3 and 7: the sequences are 1..total, and who waits for the total after the end gets there."""
    last = max(job.progress, default=0)
    gaps = sorted(set(range(1, last + 1)) - set(job.progress))
    if gaps:
        yield Breach(3, job.job_id, f"the sequences {gaps[:10]} are missing below {last}")
    if job.end is None:
        return
    total = job.end.progress_records_total
    if last > total:
        yield Breach(3, job.job_id, f"there is a sequence {last}, but the end says that there are {total} records")
    if last < total and settled:
        yield Breach(7, job.job_id, f"the end promises {total} records, and the last that came is {last}")


def _items(job: JobRecords) -> Iterator[Breach]:
    """Invariant 4: each item of a stage once, as many as the end counts, and `items_ended` counts them on the way."""
    total = job.end.items_total if job.end is not None else None
    seen: set[tuple[int, int]] = set()
    failed = 0
    for number, (sequence, progress) in enumerate(sorted(job.progress.items()), start=1):
        for result in progress.results:
            item = (progress.stage_index, result.item_index)
            if item in seen:
                yield Breach(4, job.job_id, f"item {result.item_index} of stage {progress.stage_index} is there twice")
            seen.add(item)
            failed += result.status == "failed"
            if total is not None and result.item_index >= total:
                yield Breach(4, job.job_id, f"item {result.item_index} is beyond items_total {total}")
        if sequence == number and progress.items_ended != len(seen):
            yield Breach(4, job.job_id, f"sequence {sequence} says items_ended {progress.items_ended}, not {len(seen)}")
    if job.end is None or len(job.progress) != job.end.progress_records_total:
        return
    counted, shown = (job.end.items_succeeded, job.end.items_failed), (len(seen) - failed, failed)
    if counted != shown:
        yield Breach(4, job.job_id, f"the end counts {counted} items succeeded and failed, the results show {shown}")


def _status(job: JobRecords) -> Iterator[Breach]:
    """Invariants 5 and 6: what `completed` and `rejected` mean."""
    end = job.end
    if end is None:
        return
    if end.status == "rejected" and (job.progress or end.progress_records_total):
        yield Breach(6, job.job_id, "was rejected and has progress")
    allowed = job.accepted[0].max_failed_items if job.accepted else None
    if end.status == "completed" and end.items_not_run != 0:
        yield Breach(5, job.job_id, f"completed, although {end.items_not_run} items were not run")
    if end.status == "completed" and allowed is not None and end.items_failed > allowed:
        yield Breach(5, job.job_id, f"completed, although {end.items_failed} items failed and {allowed} may")
    if end.status != "completed" and end.items_not_run == 0 and end.items_failed <= (allowed or 0):
        yield Breach(5, job.job_id, f"{end.status}, although all items ran and only {end.items_failed} failed")
