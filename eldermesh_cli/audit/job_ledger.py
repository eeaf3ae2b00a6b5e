"""The ledger: accepted jobs = ended jobs, one end each, and every invariant of the contract, from the topics alone."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson
from aiokafka import TopicPartition

from eldermesh.client.kafka import PublicTopics, end_positions, read_topics
from eldermesh.client.topic_reader import public_record
from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.inbox import Coordinates, InboxSubmit, read_submit
from eldermesh.contract.invariants import breaches
from eldermesh.contract.ledger import coordinates_of
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.tenants import is_job_inbox
from eldermesh.contract.topics import JOBS_DEAD, JOBS_DONE, JOBS_HOLDS, JOBS_PROGRESS
from eldermesh_cli.answers.jobs import AuditAnswer, BreachAnswer
from eldermesh_cli.audit.request_ledger import audit_requests
from eldermesh_cli.program.topic_scan import log_starts, read_until
from shared.facts.jobs import JobAccepted
from shared.kafka.topics import JOBS_HISTORY, PUBLIC_RETENTION_MS
from shared.settings import Settings

MAX_LISTED = 100
"""Most missing jobs that are named."""

_EFFECTS = (JOBS_DONE, JOBS_PROGRESS, JOBS_HOLDS, JOBS_DEAD)
_SLACK_MS = 3600 * 1000
_TOLD_EVERY = 10_000


@dataclass(slots=True)
class _Topics:
    """What lies on the topics: public records, and when which job was accepted (milliseconds since 1970)."""

    public: list[tuple[PublicRecord, int]] = field(default_factory=list)
    accepted: dict[str, int] = field(default_factory=dict)
    is_whole: bool = True
    """Whether retention has taken nothing yet."""


async def audit(settings: Settings, *, told: Callable[[int], None]) -> AuditAnswer:
    """Read everything there is and check it. Jobs that retention may have taken parts of are left out.

    Args:
        settings: of the mesh.
        told: called now and then with the number of records read so far.

    Raises:
        MeshUnavailableError: the broker does not answer.
    """
    topics = await read_topics(settings.kafka, settings.topic_prefix)
    found = await _read(settings, topics, told)
    horizon = 0 if found.is_whole else time.time_ns() // 1_000_000 - PUBLIC_RETENTION_MS + _SLACK_MS
    forgotten = {job_id for job_id, at in found.accepted.items() if at <= horizon}
    accepted = found.accepted.keys() - forgotten
    records = _recent(found, horizon, forgotten, settings.topic_prefix)
    ends = {record.key_text() or "" for record in records if record.topic == JOBS_DONE}
    missing = sorted((accepted - ends) | _unjudged(records, found.accepted.keys(), settings.topic_prefix))
    broken = breaches(records, topic_prefix=settings.topic_prefix, settled=not missing)
    differing, duplicates = _repeats(records)
    expected, counted = _items(records)
    return AuditAnswer(
        accepted=len(accepted),
        ended=len(ends),
        missing=len(missing),
        differing_ends=differing,
        identical_duplicates=duplicates,
        items_expected=expected,
        items_counted=counted,
        breaches=[
            BreachAnswer(invariant=breach.invariant, job_id=breach.job_id, detail=breach.detail)
            for breach in broken
            if breach.job_id not in forgotten
        ],
        missing_jobs=missing[:MAX_LISTED],
        requests=await audit_requests(settings, topics),
    )


async def _read(settings: Settings, topics: PublicTopics, told: Callable[[int], None]) -> _Topics:
    """All topics up to their ends, each end asked for later than those of what comes after it on a job's way.

    So whatever is read has its causes among what is read, and only what is under way lacks its effects.
    """
    public = {name: topics.all_partitions(name) for name in (*topics.job_inboxes, *_EFFECTS)}
    history_topic = settings.topic(JOBS_HISTORY)
    history = [TopicPartition(history_topic, number) for number in range(topics.partitions[JOBS_PROGRESS])]
    starts = await log_starts(settings.kafka, [each for partitions in public.values() for each in partitions])
    ends: dict[TopicPartition, int] = {}
    effects = (public[name] for name in _EFFECTS)
    inboxes = (public[name] for name in topics.job_inboxes)
    for partitions in (*effects, history, *inboxes):
        ends |= await end_positions(settings.kafka, partitions)
    found = _Topics(is_whole=not any(starts.values()))
    count = 0
    async for record in read_until(settings.kafka, ends):
        count += 1
        if count % _TOLD_EVERY == 0:
            told(count)
        if record.topic != history_topic:
            found.public.append((public_record(topics, record), record.timestamp))
        elif header_text(record.headers, "ce_type") == JobAccepted.fact_type:
            found.accepted.setdefault((record.key or b"").decode("utf-8", "replace"), record.timestamp)
    told(count)
    return found


def _recent(found: _Topics, horizon: int, forgotten: set[str], topic_prefix: str) -> list[PublicRecord]:
    """The public records without those that belong to what retention may have taken parts of."""
    if horizon == 0:
        return [record for record, _ in found.public]
    kept_inbox = {_coordinates(record) for record, at in found.public if is_job_inbox(record.topic) and at > horizon}
    return [
        record
        for record, _ in found.public
        if record.key_text() not in forgotten
        and (not is_job_inbox(record.topic) or _coordinates(record) in kept_inbox)
        and (record.topic != JOBS_DEAD or _original(record, topic_prefix) in kept_inbox)
    ]


def _coordinates(record: PublicRecord) -> Coordinates:
    return record.topic, record.partition, record.offset


def _original(record: PublicRecord, topic_prefix: str) -> Coordinates | None:
    """Where the original of a dead letter lies; None if that cannot be read."""
    try:
        return coordinates_of(DeadLetterHeaders.decode(record.headers), topic_prefix)
    except ValueError:
        return None


def _unjudged(records: Iterable[PublicRecord], accepted: Iterable[str], topic_prefix: str) -> set[str]:
    """Jobs of valid submits that were neither accepted nor refused yet."""
    known = set(accepted)
    refused = {_original(record, topic_prefix) for record in records if record.topic == JOBS_DEAD}
    submits = (read_submit(record) for record in records if is_job_inbox(record.topic))
    return {
        submit.job_id
        for submit in submits
        if isinstance(submit, InboxSubmit) and submit.job_id not in known and submit.coordinates not in refused
    }


def _repeats(records: Iterable[PublicRecord]) -> tuple[int, int]:
    """How many ends have two values, and how many records of results and ends only repeat an earlier one."""
    values: dict[str, set[bytes]] = defaultdict(set)
    duplicates = 0
    for record in records:
        if record.topic in (JOBS_PROGRESS, JOBS_DONE):
            known = values[record.header("ce_id") or repr(record)]
            duplicates += (record.value or b"") in known
            known.add(record.value or b"")
    differing = sum(len(known) > 1 for event_id, known in values.items() if event_id.endswith(":end"))
    return differing, duplicates


def _items(records: Iterable[PublicRecord]) -> tuple[int, int]:
    """How many results the ends promise, and how many different ones of these jobs are there."""
    expected: dict[str, int] = {}
    counted: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for record in records:
        job_id = record.key_text() or ""
        try:
            value = orjson.loads(record.value or b"")
            if record.topic == JOBS_DONE:
                expected[job_id] = value["items_succeeded"] + value["items_failed"]
            elif record.topic == JOBS_PROGRESS:
                counted[job_id].update((value["stage_index"], result["item_index"]) for result in value["results"])
        except (ValueError, KeyError, TypeError):
            continue  # a breach of form, and told as such
    return sum(expected.values()), sum(len(counted[job_id]) for job_id in expected)
