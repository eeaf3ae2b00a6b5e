"""The promises, checked from outside: the contract's invariants, and what must be left behind once all is at rest."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.holds import JobHold, hold_event_id
from eldermesh.contract.invariants import breaches
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.results import JobProgress
from eldermesh.contract.times import format_time, parse_time
from eldermesh.contract.topics import JOBS_DEAD, JOBS_DONE, JOBS_HOLDS, JOBS_PROGRESS
from services.router.jobs.machine import JobMachine
from shared.facts.fact import TimerFired
from shared.facts.jobs import (
    FactResult,
    ItemsCompleted,
    JobAccepted,
    JobAdvised,
    JobDecided,
    JobEnded,
    JobHeld,
    JobReplanned,
    JobRouted,
    decode_job_fact,
)
from tests.property.breach import Breach
from tests.property.fact_writer import BY_ADVICE

if TYPE_CHECKING:
    from tests.property.world import World


@dataclass(slots=True)
class PublicJob:
    """What the public topics say of one job, repeats left out."""

    progress: dict[int, JobProgress] = field(default_factory=dict)
    end: JobEnd | None = None


def check_public(world: World) -> dict[str, PublicJob]:
    """What must hold at every moment, read from the public topics alone."""
    jobs: dict[str, PublicJob] = defaultdict(PublicJob)
    first: dict[str, PublicRecord] = {}
    for record in world.log.public:
        if record.topic == JOBS_DEAD:
            continue
        event_id = record.header("ce_id") or ""
        known = first.setdefault(event_id, record)
        if (known.value, known.headers) != (record.value, record.headers):
            raise Breach(f"two records {event_id} differ: {known.value!r} {record.value!r}")
        if known is not record or record.topic == JOBS_HOLDS:
            continue
        job = jobs[record.key_text() or ""]
        if record.topic == JOBS_PROGRESS:
            progress = JobProgress.model_validate_json(record.value or b"")
            job.progress[progress.sequence] = progress
        elif record.topic == JOBS_DONE:
            job.end = JobEnd.model_validate_json(record.value or b"")
    for name, job in jobs.items():
        _check_progress(name, job)
        if job.end is not None:
            _check_end(name, job.end)
    return jobs


def _check_progress(name: str, job: PublicJob) -> None:
    items = [result.item_index for progress in job.progress.values() for result in progress.results]
    if len(items) != len(set(items)):
        raise Breach(f"an item of {name} appears twice: {sorted(items)}")
    times = [parse_time(job.progress[sequence].recorded_at) for sequence in sorted(job.progress)]
    if times != sorted(times):
        raise Breach(f"the results of {name} go back in time: {times}")
    if job.end is not None and job.end.status == "rejected" and items:
        raise Breach(f"{name} was rejected and has results")
    if job.end is not None and times and parse_time(job.end.ended_at) < times[-1]:
        raise Breach(f"{name} ended before its last results were recorded")


def _check_end(name: str, end: JobEnd) -> None:
    total = end.items_total
    if total is not None and end.items_succeeded + end.items_failed + (end.items_not_run or 0) != total:
        raise Breach(f"the items of {name} do not add up: {end}")
    accepted_at, ended_at = parse_time(end.accepted_at), parse_time(end.ended_at)
    if not 0 <= end.active_seconds * 1000 <= ended_at - accepted_at:
        raise Breach(f"{name} was active for {end.active_seconds} s within {ended_at - accepted_at} ms")
    if (end.status == "completed") != (end.items_not_run == 0 and end.error_type is None):
        raise Breach(f"{name} is {end.status}, which its numbers contradict: {end}")


def check_all(world: World) -> None:
    """What must hold once everything is at rest."""
    jobs = check_public(world)
    first_submits: dict[str, str] = {}
    conflicts: set[str] = set()
    same: set[str] = set()
    for submit in world.submitted:
        known = first_submits.setdefault(submit.job, submit.content_hash)
        (same if known == submit.content_hash else conflicts).add(submit.inbox)
    for name in first_submits:
        _check_whole(world, name, jobs[name])
    dead = {
        f"{letter.topic}/{letter.partition}/{letter.offset}"
        for record in world.log.public
        if record.topic == JOBS_DEAD
        for letter in [DeadLetterHeaders.decode(record.headers)]
    }
    decisions = _check_decisions(world, dead)
    if dead - decisions != conflicts - same:
        raise Breach(f"conflicts {sorted(conflicts)}, but in jobs.dead are {sorted(dead - decisions)}")
    _check_marks(world)
    _check_deaths(world)
    if set(jobs) != set(first_submits):
        raise Breach(f"public records of unknown jobs: {set(jobs) - set(first_submits)}")
    found = breaches(world.log.public, inbox=False)
    if found:
        raise Breach(f"the contract's check says: {found}")


def _check_marks(world: World) -> None:
    """What `job.ended` says of an end is what stands on `jobs.done`."""
    ends = {record.key_text(): record for record in world.log.public if record.topic == JOBS_DONE}
    for record in world.log.everything:
        if record.fact_type != JobEnded.fact_type:
            continue
        mark, end = JobEnded.model_validate_json(record.value), ends.get(record.key)
        shown = end and ((end.value or b"").decode(), end.header("ce_type"), end.header("ce_time"))
        if shown != (mark.end, mark.event_type, format_time(mark.ended_at)):
            raise Breach(f"the mark of {record.key} is {mark}, but on jobs.done stands {shown}")


def _check_deaths(world: World) -> None:
    """No plan counts more deaths than there were."""
    for record in world.log.everything:
        if record.fact_type != JobReplanned.fact_type or world.witness.is_torn:
            continue
        for chunk in JobReplanned.model_validate_json(record.value).chunks:
            seen = max(world.witness.lost_runs[record.key, item] for item in range(chunk.first, chunk.last + 1))
            if chunk.deaths > seen:
                raise Breach(f"a plan of {record.key} says that {chunk} died, but it died {seen} times")


def _check_decisions(world: World, dead: set[str]) -> set[str]:
    """The coordinates of all decisions; each that came to a known job counts or is a dead letter, every hold ends."""
    holds = {
        record.header("ce_id") or "": JobHold.model_validate_json(record.value or b"")
        for record in world.log.public
        if record.topic == JOBS_HOLDS
    }
    accepted: set[str] = set()
    decisions: set[str] = set()
    to_jobs: set[str] = set()
    for record in world.log.everything:
        if record.fact_type == JobAccepted.fact_type:
            accepted.add(record.key)
        elif record.fact_type == JobDecided.fact_type:
            coordinates = JobDecided.model_validate_json(record.value).inbox.coordinates
            decisions.add(coordinates)
            to_jobs.update({coordinates} if record.key in accepted else ())
    counted = sum(hold.by is not None for hold in holds.values())
    if counted + len(to_jobs & dead) != len(to_jobs) or not decisions & dead <= to_jobs:
        raise Breach(f"of {len(to_jobs)} decisions {counted} counted, and {sorted(decisions & dead)} are in jobs.dead")
    open_holds = [hold for hold in holds.values() if hold.outcome is None]
    unended = {hold_event_id(hold.job_id, hold.hold, "ended") for hold in open_holds} - set(holds)
    unbegun = {hold_event_id(hold.job_id, hold.hold) for hold in holds.values()} - set(holds)
    if unended or unbegun:
        raise Breach(f"holds that have no end or no beginning on jobs.holds: {sorted(unended | unbegun)}")
    return decisions


def _check_whole(world: World, name: str, job: PublicJob) -> None:
    if job.end is None:
        raise Breach(f"{name} was accepted and has no end")
    end = job.end
    if set(job.progress) != set(range(1, end.progress_records_total + 1)):
        raise Breach(f"{name} has sequences {sorted(job.progress)} of {end.progress_records_total}")
    results = [result for progress in job.progress.values() for result in progress.results]
    failed = sum(result.status == "failed" for result in results)
    if (len(results) - failed, failed) != (end.items_succeeded, end.items_failed):
        raise Breach(f"{name} has {len(results)} results, {failed} of them failed, its end says {end}")
    facts = [
        ItemsCompleted.model_validate_json(record.value)
        for record in world.log.everything
        if record.key == name and record.fact_type == ItemsCompleted.fact_type
    ]
    winners = _winners(facts)
    for shown in results:
        if (shown.output, shown.status) not in [(made.output, made.status) for made in winners[shown.item_index]]:
            raise Breach(f"item {shown.item_index} of {name} is not as the log has it first")
        deaths = world.witness.deaths[name, shown.item_index]
        if shown.error_type == "crashed" and deaths < JobMachine().max_item_deaths and not world.witness.is_torn:
            raise Breach(f"item {shown.item_index} of {name} crashed, but not so many of its own runs died")
    _check_limits(world, name, end)
    _check_advice(world, name, end)
    _check_cost(name, end, facts)


def _winners(facts: list[ItemsCompleted]) -> dict[int, list[FactResult]]:
    """The first result of each item in the log, and those before it that count only under a condition."""
    winners: dict[int, list[FactResult]] = defaultdict(list)
    decided: set[int] = set()
    for fact in facts:
        for result in fact.results:
            if result.item_index not in decided:
                winners[result.item_index].append(result)
                decided.update(() if fact.only_if_current else (result.item_index,))
    return winners


def _check_limits(world: World, name: str, end: JobEnd) -> None:
    accepted = next(
        JobAccepted.model_validate_json(record.value)
        for record in world.log.everything
        if record.key == name and record.fact_type == JobAccepted.fact_type
    )
    lived_ms = parse_time(end.ended_at) - parse_time(end.accepted_at)
    if end.error_type == "timeout" and end.active_seconds * 1000 < (accepted.terms.active_timeout_ms or 0):
        raise Breach(f"{name} timed out after {end.active_seconds} s: too early")
    if end.error_type == "expired" and lived_ms < accepted.terms.expires_after_ms:
        raise Breach(f"{name} expired after {lived_ms} ms: too early")


def _check_advice(world: World, name: str, end: JobEnd) -> None:
    """The advice or the end of its time is waited for; the first of them in the log counts, the other one does not."""
    records = [record for record in world.log.everything if record.key == name]
    at = next(place for place, record in enumerate(records) if record.fact_type == JobAccepted.fact_type)
    within_ms = JobAccepted.model_validate_json(records[at].value).terms.advise_within_ms
    due = parse_time(end.accepted_at) + within_ms
    risks: list[object] | None = None if within_ms else []
    for record in records[at + 1 :]:
        match decode_job_fact(record.fact_type, record.value):
            case JobAdvised(entries=entries) if risks is None:
                risks = [entry.advice.get("risk") for entry in entries]
            case TimerFired(timer_id=timer) if risks is None and timer == f"{name}:advise:1" and record.time_ms >= due:
                risks = []
            case JobRouted(n=0) | JobHeld(n=0) if risks is None or "critical" in risks:
                raise Breach(f"{name} was decided on {'against' if risks else 'before'} its advice")
    if end.reason == BY_ADVICE and "critical" not in (risks or ()):
        raise Breach(f"{name} was refused for advice that did not count")


def _check_cost(name: str, end: JobEnd, facts: list[ItemsCompleted]) -> None:
    """A completed job costs what its facts up to the deciding one say, each (item, epoch, attempt) once."""
    if end.status != "completed":
        return
    items: set[int] = set()
    costs: dict[tuple[int, int, int], int] = {}
    for fact in facts:
        for result in fact.results:
            items.add(result.item_index)
            if result.cost_micros is not None:
                costs.setdefault((result.item_index, fact.epoch, result.attempt), result.cost_micros)
        if len(items) == end.items_total:
            break
    expected = sum(costs.values()) / 1_000_000 if costs else None
    if end.cost_usd != expected:
        raise Breach(f"{name} cost {end.cost_usd} USD, its facts say {expected}")


async def check_redis(world: World) -> None:
    """Redis holds what a fold of the log makes, and nothing of ended jobs but their states."""
    await world.mirror.check()
    for name in ("specs", "bitmaps", "current", "claims"):
        left = await world.redis.content(name)
        if left:
            raise Breach(f"all jobs have ended, and {name} holds {sorted(left)}")
