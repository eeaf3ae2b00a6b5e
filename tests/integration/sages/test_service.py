"""The service on real brokers: one `job.advised` for each job that waits for it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.partitions import partition_of
from eldermesh_cli.stack.processes.child import OwnedProcess
from services.sages.app import make_app
from services.sages.panel.advisor import question_of
from shared.facts.jobs import JobAdvised
from shared.health.parts import SAGES
from shared.kafka.topics import JOBS_HISTORY, SAGES_PANEL
from shared.settings import Settings
from shared.telemetry import names
from tests.fresh_topics import AnyBroker, fresh_topics
from tests.inboxes import committed
from tests.integration.sages.history import HistoryWriter, PastJob, accepted, now_ms
from tests.recorded_spans import recorded_spans
from tests.serving import serving
from tests.trace_edges import ADVICE_EDGES
from tests.waiting import wait_until
from tests.whole_topic import end_offsets, read_topic

WAITS_MS = 300_000


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[None]:
    """The service in this process, ready."""
    async with serving(make_app(settings), settings, SAGES.trouble):
        yield


async def advised(settings: Settings) -> dict[str, list[JobAdvised]]:
    """What the history has, by job; each in its partition, with the trace of its job."""
    found: dict[str, list[JobAdvised]] = {}
    for record in await read_topic(settings, JOBS_HISTORY):
        if header_text(record.headers, "ce_type") == JobAdvised.fact_type:
            job_id = record.key.decode()
            assert record.partition == partition_of(job_id, settings.partition_count)
            assert header_text(record.headers, "ce_subject") == job_id
            assert (header_text(record.headers, "traceparent") or "").split("-")[1] == trace_id_of(job_id)
            found.setdefault(job_id, []).append(JobAdvised.model_validate_json(record.value))
    return found


async def all_advised(settings: Settings, jobs: Iterable[str]) -> dict[str, list[JobAdvised]]:
    """Wait until each of these jobs is."""

    async def look() -> dict[str, list[JobAdvised]] | None:
        found = await advised(settings)
        return found if set(jobs) <= set(found) else None

    return await wait_until(look, description="all jobs are advised on", interval_seconds=0.1)


async def read_to_end(settings: Settings, ends: dict[int, int]) -> None:
    """Wait until the panel's group has committed what stood there then."""

    async def look() -> bool:
        offsets = await committed(settings, JOBS_HISTORY, SAGES_PANEL)
        return all(offsets.get(partition, 0) >= end for partition, end in ends.items())

    await wait_until(look, description="the panel has read everything", interval_seconds=0.1)


async def ask(writer: HistoryWriter, job: PastJob, *, at: int | None = None, waits_ms: int = WAITS_MS) -> str:
    """Append the acceptance of a job; return its id."""
    job_id = str(uuid4())
    await writer.append(job_id, [(at or now_ms(), accepted(job_id, job, advise_within_ms=waits_ms))])
    return job_id


async def test_each_job_that_waits_is_advised_on_once(any_broker: AnyBroker, tmp_path: Path) -> None:
    """By all sages, in one fact; what the task sage says changes after a job has ended."""
    async with (
        fresh_topics(any_broker.bootstrap, any_broker.profile, data_dir=tmp_path, sage_seconds=20.0) as settings,
        HistoryWriter(settings) as writer,
    ):

        async def samples(count: int) -> bool:
            job_id = await ask(writer, PastJob(content_hash="other"))
            facts = await all_advised(settings, [job_id])
            return _task(facts[job_id][0])["samples"] == count

        await writer.past(PastJob(content_hash="past", ran_ms=4000))
        async with service(settings):
            await wait_until(lambda: samples(1), description="the task sage has caught up")
            first = [await ask(writer, PastJob(content_hash="asked")) for _ in range(10)]
            before = await all_advised(settings, first)
            await writer.past(PastJob(content_hash="past", ran_ms=6000))

            await wait_until(lambda: samples(2), description="the job that has ended counts")
        assert [len(before[job_id]) for job_id in first] == [1] * 10
        for job_id in first:
            assert [entry.sage for entry in before[job_id][0].entries] == ["incident", "knowledge", "rag", "task"]
        assert _task(before[first[-1]][0])["samples"] == 1


def _task(fact: JobAdvised) -> dict[str, object]:
    (entry,) = [entry for entry in fact.entries if entry.sage == "task"]
    return {"samples": -1, **entry.advice}


async def test_nobody_is_asked_about_a_job_that_does_not_wait(embedded_broker: str, tmp_path: Path) -> None:
    """No advice wanted, the wait over, another fact, bytes that are none: passed over, and none stops the panel."""
    async with (
        fresh_topics(embedded_broker, "embedded", data_dir=tmp_path) as settings,
        HistoryWriter(settings) as writer,
    ):
        await ask(writer, PastJob(), waits_ms=0)
        await ask(writer, PastJob(), at=now_ms() - 5000, waits_ms=4000)
        await writer.append_raw(str(uuid4()), [(now_ms(), "job.accepted", b"{"), (now_ms(), "no.such", b"")])
        await writer.past(PastJob())
        ends = await end_offsets(settings, JOBS_HISTORY)
        async with service(settings):
            await read_to_end(settings, ends)
            waiting = await ask(writer, PastJob())
            assert set(await all_advised(settings, [waiting])) == {waiting}


async def test_the_panel_stands_in_the_trace_of_the_job(embedded_broker: str, tmp_path: Path) -> None:
    """Below the span that accepted it: the panel, and each sage with its status; without advice there is no span."""
    async with (
        fresh_topics(embedded_broker, "embedded", data_dir=tmp_path) as settings,
        HistoryWriter(settings) as writer,
    ):
        with recorded_spans() as exporter:
            await writer.past(PastJob(), job_id=(passed := str(uuid4())))
            async with service(settings):
                job_id = await ask(writer, PastJob())
                await all_advised(settings, [job_id])
        spans = [
            span for span in exporter.get_finished_spans() if f"{span.context.trace_id:032x}" == trace_id_of(job_id)
        ]
        by_id = {span.context.span_id: span for span in spans}
        edges = {
            (by_id[span.parent.span_id].name if span.parent.span_id in by_id else "accept job", span.name)
            for span in spans
            if span.parent is not None
        }
        assert edges == set(ADVICE_EDGES)
        asked = [span.attributes or {} for span in spans if span.name == names.ASK_SAGE.name]
        assert {each[names.SAGE] for each in asked} == {"incident", "knowledge", "rag", "task"}
        assert {each[names.SAGE_STATUS] for each in asked} <= {"ok", "late", "failed", "warming"}
        assert not [span.name for span in exporter.get_finished_spans() if _is_of(span.context.trace_id, passed)]


def _is_of(trace_id: int, job_id: str) -> bool:
    return f"{trace_id:032x}" == trace_id_of(job_id)


@pytest.mark.slow
async def test_a_kill_in_the_middle_of_work_loses_no_question(embedded_broker: str, tmp_path: Path) -> None:
    """Jobs that still wait are advised on by the next process; about those that do not, nobody is asked."""
    async with (
        fresh_topics(embedded_broker, "embedded", data_dir=tmp_path) as settings,
        HistoryWriter(settings) as writer,
    ):
        command, env = [sys.executable, "-m", "services.sages"], os.environ | settings.environment()

        async def started() -> OwnedProcess:
            process = OwnedProcess(command, log_path=tmp_path / "sages.log", env=env)
            process.start()

            async def ready() -> bool:
                assert process.poll() is None, (tmp_path / "sages.log").read_text("utf-8")
                return await SAGES.trouble(settings) is None

            await wait_until(ready, description="the sages are ready", interval_seconds=0.1)
            return process

        process = await started()
        jobs = [await ask(writer, PastJob()) for _ in range(60)]
        await wait_until(lambda: advised(settings), description="the first is advised on", interval_seconds=0.01)
        process.kill()
        jobs += [await ask(writer, PastJob()) for _ in range(5)]
        too_old = await ask(writer, PastJob(), waits_ms=1)
        ends = await end_offsets(settings, JOBS_HISTORY)
        process = await started()
        try:
            found = await all_advised(settings, jobs)
            await read_to_end(settings, ends)
            assert too_old not in await advised(settings)
            assert set(found) == set(jobs)
        finally:
            await process.stop(30)
        assert process.poll() == 0, (tmp_path / "sages.log").read_text("utf-8")
        lines = [orjson.loads(line) for line in (tmp_path / "sages.log").read_text("utf-8").splitlines()]
        assert lines[-1]["event"] == "sages stopped"


def test_a_submit_that_only_refers_to_its_items_has_none_to_ask_about() -> None:
    """The question has what the fact has."""
    fact = accepted(str(uuid4()), PastJob()).model_copy(
        update={"original": '{"workload":"python"}', "items_total": None}
    )
    asked = question_of(fact, "id", 7)
    assert (asked.items, asked.options, asked.items_total, asked.accepted_at, asked.texts()) == ((), {}, None, 7, ())
    unreadable = fact.model_copy(update={"original": "{"})
    assert question_of(unreadable, "id", 7).items == ()
    assert "items" not in repr(asked).replace("None items", "")
