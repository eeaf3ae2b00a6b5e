"""Admission behind a backlog, on real brokers: who is more urgent, or of another tenant, is accepted before most of it.

What is accepted when is read from the offsets of one partition of the history, in which all these jobs lie.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from itertools import count, islice
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from eldermesh.contract.cloudevents import CANCEL
from eldermesh.contract.partitions import partition_of
from eldermesh_cli.stack.processes.child import OwnedProcess
from shared.facts.jobs import JobAccepted, JobCancelRequested
from shared.kafka.topics import JOBS, JOBS_DEAD, JOBS_HISTORY
from shared.settings import Settings
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.inboxes import Sent, committed, publish, read_all
from tests.integration.admission_program import GROUP
from tests.integration.admitting import admitting, facts_of, records_of
from tests.malformed import job
from tests.waiting import wait_until

_BACKLOG = 600
_HISTORY_PARTITION = 0
_HOSTILE = (
    b"[" * 200_000,
    b'{"items": [' + b"[]," * 80_000 + b"1]}",
    b'{"workload": "python", "priority": "interactive", "items": ["' + b"x" * 300_000 + b'"]}',
    b"\xff\xfe",
    b"not JSON",
    None,
)


@pytest.fixture
async def settings(any_broker: AnyBroker) -> AsyncIterator[Settings]:
    """Topics of their own."""
    async with fresh_topics(*any_broker) as settings:
        yield settings


def _ids(settings: Settings, number: int) -> list[str]:
    """Ids of jobs that lie in one partition of the history."""
    ids = (str(UUID(int=0xC0DE0000 + each)) for each in count())
    return list(
        islice((each for each in ids if partition_of(each, settings.partition_count) == _HISTORY_PARTITION), number)
    )


def _submit(job_id: str, *, partition: int | None = 0, key: bytes | None = None, **fields: Any) -> Sent:
    return Sent(job(job_id=job_id, **fields), key=key, partition=partition)


def _accepted(facts: list[tuple[Any, Any]]) -> list[str]:
    """The jobs in the order of their first acceptance."""
    ordered = sorted(facts, key=lambda each: each[0].offset)
    return list(dict.fromkeys(record.key_text() for record, fact in ordered if isinstance(fact, JobAccepted)))


async def test_who_is_more_urgent_or_of_another_tenant_is_accepted_before_most_of_a_backlog(
    settings: Settings,
) -> None:
    """Both were published behind all of it, on the same partition; hostile records in between cost them nothing."""
    *crowd, urgent, other = _ids(settings, _BACKLOG + 2)
    backlog = [_submit(job_id, tenant="crowd") for job_id in crowd]
    hostile = [Sent(value, partition=0) for value in _HOSTILE]
    people = [_submit(urgent, tenant="crowd", priority="interactive"), _submit(other, tenant="other")]
    await publish(settings, JOBS, [*backlog[:300], *hostile, *backlog[300:], *people])

    async with admitting(settings) as consumer:
        facts = await facts_of(settings, _BACKLOG + 2)
        await records_of(settings, JOBS_DEAD, len(hostile))
        assert consumer.is_alive()
    accepted = _accepted(facts)
    assert {*accepted} == {*crowd, urgent, other}
    assert accepted.index(urgent) < _BACKLOG / 4
    assert accepted.index(other) < _BACKLOG / 4
    assert [each for each in accepted if each not in {urgent, other}][:10] == crowd[:10], "in the order of the inbox"


async def test_everything_is_committed_once_all_is_done(settings: Settings) -> None:
    """On each partition up to its end, in whatever order its records were done."""
    priorities = ("batch", "normal", "interactive")
    ids = _ids(settings, 90)
    await publish(
        settings,
        JOBS,
        [_submit(each, partition=n % 3, priority=priorities[n % 7 % 3]) for n, each in enumerate(ids)],
    )
    async with admitting(settings):
        await facts_of(settings, len(ids))
    assert await committed(settings, JOBS, GROUP) == {0: 30, 1: 30, 2: 30}


async def test_a_cancel_stays_behind_the_submit_of_its_key(settings: Settings) -> None:
    """Though a cancel is urgent, and its submit comes after all others."""
    *crowd, first, second = _ids(settings, 202)
    cancelled = [first, second]
    await publish(
        settings,
        JOBS,
        [
            *(_submit(each, key=each.encode(), priority="batch") for each in cancelled),
            *(
                Sent(b'{"job_id": "%s"}' % each.encode(), each.encode(), (("ce_type", CANCEL.encode()),), 0)
                for each in cancelled
            ),
            *(_submit(each) for each in crowd),
        ],
    )
    async with admitting(settings):
        facts = await facts_of(settings, 204)
    assert set(_accepted(facts)[-2:]) == set(cancelled), "batch comes last"
    for job_id in cancelled:
        of_job = [fact for record, fact in sorted(facts, key=_place) if record.key_text() == job_id]
        assert [type(fact) for fact in of_job] == [JobAccepted, JobCancelRequested]


@pytest.mark.slow
async def test_killed_in_the_midst_it_loses_nothing(settings: Settings, tmp_path: Path) -> None:
    """What was accepted out of order comes again, and is the same submit for the owner: same id, place and content."""
    ids = _ids(settings, 1500)
    priorities = ("batch", "normal", "interactive")
    sent = [_submit(each, partition=n % 3, priority=priorities[n % 5 % 3]) for n, each in enumerate(ids)]
    await publish(settings, JOBS, sent)
    environment = dict(os.environ) | settings.environment() | {"MESH_DATA_DIR": str(tmp_path)}
    program = OwnedProcess(
        (sys.executable, "-m", "tests.integration.admission_program"), log_path=tmp_path / "log", env=environment
    )
    program.start()
    try:
        await records_of(settings, JOBS_HISTORY, 700)
    finally:
        program.kill()
    async with admitting(settings):

        async def all_there() -> bool:
            return {each.key_text() for each in await read_all(settings, JOBS_HISTORY)} >= set(ids)

        await wait_until(all_there, description="every job has a fact", interval_seconds=0.3)
        await wait_until(lambda: _is_committed(settings), description="all is committed", interval_seconds=0.3)
    facts = await facts_of(settings, len(ids))
    assert {record.key_text() for record, _ in facts} == set(ids)
    submits = {(record.key_text(), fact.content_hash, fact.inbox.coordinates) for record, fact in facts}
    assert len(submits) == len(ids)
    assert await read_all(settings, JOBS_DEAD) == []


async def _is_committed(settings: Settings) -> bool:
    return await committed(settings, JOBS, GROUP) == {0: 500, 1: 500, 2: 500}


def _place(each: tuple[Any, Any]) -> int:
    offset: int = each[0].offset
    return offset
