"""The sage knowledge on a real history, and `mesh notes`: what is said follows from what happened, and from notes."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from services.sages.knowledge import KnowledgeSage
from services.sages.past_jobs.likeness_table import prune as prune_jobs
from shared.documents import Note
from shared.facts.fact import Fact
from shared.facts.jobs import FactResult, ItemsCompleted, JobEnded
from shared.kafka.clients import make_producer
from shared.kafka.topics import SAGES_NOTES
from shared.settings import Settings
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.hostile_batches import publish_batch, unreadable_header
from tests.integration.sages.command_lines import mesh
from tests.integration.sages.history import HistoryWriter, PastJob, accepted, now_ms, traceparent
from tests.integration.sages.played_sages import question
from tests.waiting import wait_until

PROMPT = "Migrate the billing schema to the new ledger tables"
PASSWORD = "correcthorsebatterystaple"


@pytest.fixture
async def settings(embedded_broker: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Topics of this test."""
    async with fresh_topics(embedded_broker, "embedded", data_dir=tmp_path) as settings:
        yield settings


@asynccontextmanager
async def knowledge_sage(settings: Settings) -> AsyncIterator[KnowledgeSage]:
    """The sage, caught up."""
    sage = KnowledgeSage()
    assert sage.is_warming
    assert await sage.advise(question(PROMPT)) == {"lessons": []}
    await sage.start(settings)
    try:
        await wait_until(lambda: not sage.is_warming, description="the sage knowledge has caught up")
        yield sage
    finally:
        await sage.close()


async def lessons(sage: KnowledgeSage, prompt: str = PROMPT, **fields: Any) -> list[Any]:
    """What it says of a job with this prompt."""
    said: Any = (await sage.advise(question({"prompt": prompt}, **({"workload": "claude"} | fields))))["lessons"]
    return list(said)


def failed(job_id: str, message: str) -> ItemsCompleted:
    """Results of which one is an error."""
    results = (
        FactResult(item_index=0, status="succeeded"),
        FactResult(item_index=1, status="failed", error_type="timeout", error_message=message),
    )
    return ItemsCompleted(
        epoch=1, chunk_id=f"{job_id}/0/1/0-1", engine="celery", worker_id="w", results=results, times=None
    )


def ended(job_id: str, status: str, **fields: Any) -> JobEnded:
    """The end of a job."""
    end = {"status": status, "error_type": None, "reason": None, "active_seconds": 12.5} | fields
    return JobEnded(
        content_hash="h",
        event_type=f"eldermesh.job.{status}.v1",
        ended_at=now_ms(),
        end=orjson.dumps(end).decode(),
        traceparent=traceparent(job_id),
    )


async def past(writer: HistoryWriter, prompt: str, status: str, *between: Fact, **end: Any) -> str:
    """A Claude job that ended so; its id."""
    job_id = str(uuid4())
    job = PastJob(workload="claude", items=({"prompt": prompt},), options=(("model", "large"),))
    facts = [accepted(job_id, job), *between, ended(job_id, status, **end)]
    await writer.append(job_id, [(now_ms(), fact) for fact in facts])
    return job_id


async def test_a_job_that_ends_teaches(any_broker: AnyBroker, tmp_path: Path) -> None:
    """The lesson of a failed job is there for jobs like it, and not for others: another subject, workload, tenant."""
    async with (
        fresh_topics(any_broker.bootstrap, any_broker.profile, data_dir=tmp_path) as settings,
        HistoryWriter(settings) as writer,
        knowledge_sage(settings) as sage,
    ):
        assert await lessons(sage) == []
        message = f"connection to the database lost; password={PASSWORD}"
        await past(writer, "Write a poem about rain", "completed")
        job_id = await past(
            writer,
            f"{PROMPT}, password={PASSWORD}",
            "failed",
            failed(str(uuid4()), message),
            error_type="too_many_failures",
            reason="2 items failed, at most 0 may",
        )
        (lesson,) = await wait_until(lambda: lessons(sage), description="the failed job has taught")

        assert lesson["source"] == job_id
        assert lesson["text"] == (
            "a similar `claude` job failed after 12.5 s: too_many_failures; 2 items failed, at most 0 may;"
            " an item failed with timeout (connection to the database lost; password=[hidden])"
        )
        assert 0.3 < lesson["confidence"] < 0.5
        assert await lessons(sage, "Write a novel about snow and ice") == []
        assert await lessons(sage, workload="python") == []
        assert await lessons(sage, tenant="other") == []
        assert await lessons(sage, job_id=job_id) == []


async def test_more_jobs_change_the_confidence(settings: Settings) -> None:
    """Agreement raises it; one that went well is said too, last."""
    async with HistoryWriter(settings) as writer, knowledge_sage(settings) as sage:
        first = await past(writer, PROMPT, "failed", error_type="timeout")
        (alone,) = await wait_until(lambda: lessons(sage), description="the first job has taught")
        for _ in range(3):
            await past(writer, PROMPT, "failed", error_type="timeout")
        good = await past(writer, PROMPT, "completed")
        # They lie in several partitions: the last one may be learned before another.
        await wait_until(lambda: _speaks_of(sage, "of 5 similar"), description="the others have taught, too")
        both = await lessons(sage)

    assert alone["source"] == first
    assert both[0]["confidence"] > alone["confidence"]
    assert both[0]["text"] == "4 of 5 similar `claude` jobs failed after 12.5 s: timeout"
    assert both[1]["source"] == good
    assert both[1]["text"] == "1 of 5 similar `claude` jobs completed after 12.5 s"


async def _speaks_of(sage: KnowledgeSage, words: str) -> bool:
    return any(words in each["text"] for each in await lessons(sage))


async def test_notes(settings: Settings) -> None:
    """A note that is added is passed on to the jobs that it speaks of, and no more once it is removed."""
    text = "Changes of the billing schema need a backup first"
    async with knowledge_sage(settings) as sage:
        added = (await mesh(settings, "notes", "add", text, "--by", "anna", "--json")).answer("mesh-note")
        bound = await mesh(
            settings, "notes", "add", "-", "--workload", "python", "--tenant", "t", stdin="ledger tables"
        )
        (lesson,) = await wait_until(lambda: lessons(sage), description="the note is passed on")
        assert lesson == {"text": text, "source": added["note_id"], "confidence": 0.6}
        assert await lessons(sage, "Write a poem about rain") == []
        other = await wait_until(
            lambda: lessons(sage, "Rebuild the ledger", workload="python", tenant="t"),
            description="a note for a workload and a tenant is passed on",
        )
        assert [each["source"] for each in other] == [bound.stdout.strip()]

        listed = (await mesh(settings, "notes", "ls", "--json")).answer("mesh-notes")["notes"]
        assert {each["note_id"] for each in listed} == {added["note_id"], bound.stdout.strip()}
        assert "billing schema" in (await mesh(settings, "notes", "ls")).stdout

        removed = (await mesh(settings, "notes", "rm", added["note_id"], "--json")).answer("mesh-notes-rm")
        assert removed == {"note_id": added["note_id"], "removed": True}
        await wait_until(lambda: _has_no_lessons(sage), description="the note is forgotten")
        gone = await mesh(settings, "notes", "rm", added["note_id"], "--json")
        assert (gone.status, gone.error()["error_type"]) == (4, "not_found")
        assert (await mesh(settings, "notes", "rm", bound.stdout.strip())).status == 0


async def test_notes_of_others(settings: Settings) -> None:
    """A name of thousands of characters is cut in the table and whole in JSON; a time after 9999 is no note."""
    long = Note(note_id="n" * 10_000, text="a backup", by="b" * 10_000, workload="claude", added_at=now_ms())
    late = orjson.dumps(orjson.loads(long.encode()) | {"note_id": "late", "added_at": 10**15})
    async with make_producer(settings) as producer:
        for key, value in (("long", long.encode()), ("late", late)):
            await producer.send_and_wait(settings.topic(SAGES_NOTES), value, key=key.encode(), partition=0)
    shown, as_json = await mesh(settings, "notes", "ls"), await mesh(settings, "notes", "ls", "--json")
    assert shown.status == as_json.status == 0
    assert len(shown.stdout) < 1000
    assert "a backup" in shown.stdout
    (listed,) = as_json.answer("mesh-notes")["notes"]
    assert (listed["note_id"], listed["by"]) == (long.note_id, long.by)


async def _has_no_lessons(sage: KnowledgeSage) -> bool:
    return not await lessons(sage)


@pytest.mark.parametrize("text", ["", "x" * 2001, f"the password={PASSWORD}"], ids=["empty", "long", "secret"])
async def test_notes_that_are_refused(settings: Settings, text: str) -> None:
    """Nothing is sent."""
    ran = await mesh(settings, "notes", "add", text, "--json")
    assert (ran.status, ran.error()["error_type"]) == (2, "usage")
    assert PASSWORD not in ran.stderr
    assert (await mesh(settings, "notes", "ls", "--json")).answer("mesh-notes") == {"notes": []}


async def test_a_deleted_file_comes_back_with_the_same_answers(settings: Settings) -> None:
    """What is no note and no fact is passed over, and no secret is in the file."""
    async with HistoryWriter(settings) as writer:
        for status in ("failed", "completed", "cancelled"):
            await past(writer, f"{PROMPT} password={PASSWORD}", status)
        await writer.append_raw(str(uuid4()), [(now_ms(), "job.ended", b"{")])
    await mesh(settings, "notes", "add", "The ledger tables are in another region")
    producer = make_producer(settings)
    await producer.start()
    for key in (b"some-note", None):
        await producer.send_and_wait(settings.topic(SAGES_NOTES), b"{}", key=key, partition=0)
    await producer.stop()
    assert len((await mesh(settings, "notes", "ls", "--json")).answer("mesh-notes")["notes"]) == 1

    async with knowledge_sage(settings) as sage:
        before = await lessons(sage)
    assert len(before) == 4
    for path in (settings.data_dir / "sages").glob("knowledge.sqlite*"):
        assert PASSWORD.encode() not in path.read_bytes()
        path.unlink()
    async with knowledge_sage(settings) as sage:
        assert await lessons(sage) == before
        assert await lessons(sage, "") == []


async def test_the_oldest_jobs_are_forgotten(settings: Settings) -> None:
    """Only above the bound."""
    async with HistoryWriter(settings) as writer, knowledge_sage(settings) as sage:
        for _ in range(3):
            await past(writer, PROMPT, "failed")
        await wait_until(lambda: _speaks_of(sage, "3 of 3"), description="the jobs have taught")
    with closing(sqlite3.connect(settings.data_dir / "sages" / "knowledge.sqlite")) as connection:
        prune_jobs(connection, 2)
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (2,)
        words = "SELECT count(*) FROM subject_words WHERE subject_words MATCH 'billin'"
        assert connection.execute(words).fetchone() == (1,)
        prune_jobs(connection, 0)
        assert connection.execute(words).fetchone() == (0,)


async def test_a_subject_of_many_jobs_hides_no_other(settings: Settings) -> None:
    """The lessons of jobs with one text leave those of a job with another one: jobs without an end do not count."""
    other = f"{PROMPT}, then drop the archive"
    async with HistoryWriter(settings) as writer, knowledge_sage(settings) as sage:
        for _ in range(60):
            waiting = PastJob(workload="claude", items=({"prompt": PROMPT},), options=(("model", "large"),))
            job_id = str(uuid4())
            await writer.append(job_id, [(now_ms(), accepted(job_id, waiting))])
        for _ in range(3):
            await past(writer, PROMPT, "completed")
        failed_id = await past(writer, other, "failed", error_type="timeout")
        await wait_until(lambda: _speaks_of(sage, "3 of 4"), description="all have taught")
        warning, good = await lessons(sage)
        assert warning["source"] == failed_id
        assert warning["text"] == "1 of 4 similar `claude` jobs failed after 12.5 s: timeout"
        assert good["text"] == "3 of 4 similar `claude` jobs completed after 12.5 s"


async def test_a_note_whose_bytes_cannot_be_read(any_broker: AnyBroker, tmp_path: Path) -> None:
    """It is passed over by the sage and by `mesh notes`, which say so; the notes before and behind it are known."""
    texts = ["Billing schema migrations need a backup first", "Ledger tables: ask before you migrate"]
    async with fresh_topics(any_broker.bootstrap, any_broker.profile, data_dir=tmp_path) as settings:
        added = [(await mesh(settings, "notes", "add", texts[0])).stdout.strip()]
        for partition in range(settings.partition_count):
            await publish_batch(settings, SAGES_NOTES, partition, unreadable_header([b"{}"] * 3))
        added += [(await mesh(settings, "notes", "add", texts[1])).stdout.strip()]
        async with knowledge_sage(settings) as sage:
            assert {each["text"] for each in await lessons(sage)} == set(texts)
        listed = await mesh(settings, "notes", "ls")
        assert listed.status == 0
        assert all(note in listed.stdout for note in added)
        assert f"{3 * settings.partition_count} records could not be read" in listed.stderr
        assert (await mesh(settings, "notes", "rm", added[1])).status == 0
