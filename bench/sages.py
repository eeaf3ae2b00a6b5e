"""The sages after ten thousand jobs: memory of the process, size of the files, and what the panel takes for a job.

The jobs never ran: their facts are published to the history of a real broker. The service is a process, as shipped.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from bench.parts import following, parts
from bench.report import Figure, percentile
from eldermesh.contract.cloudevents import header_text
from eldermesh.launch import python_command
from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.service import Service, ServiceSpec
from services.sages.memory.table import sages_directory
from shared.facts.jobs import JobAdvised
from shared.health.parts import SAGES
from shared.kafka.topics import JOBS_HISTORY
from shared.settings import Settings
from tests.fresh_topics import Profile
from tests.integration.sages.history import HistoryWriter, PastJob, accepted, now_ms

_ASKED = 200
_WARM_UP = 20
_WAITS_MS = 60_000
_WAIT_SECONDS = 180.0
_AT_ONCE = 100
_POLL_MS = 20
_MIB = 2**20


async def measure_sages(profile: Profile, directory: Path, jobs: int) -> list[Figure]:
    """Fresh and after so many jobs: PSS and files; then the time from an acceptance to the advice in the log."""
    async with parts(profile, directory) as settings, HistoryWriter(settings) as writer:
        async with _sages(settings, directory) as fresh:
            await _asked(settings, writer, _WARM_UP)
            figures = [Figure("sages, fresh: memory of the process, PSS", profile, _pss(fresh), "MiB")]
        for first in range(0, jobs, _AT_ONCE):
            await asyncio.gather(*(writer.past(_job(number)) for number in range(first, min(jobs, first + _AT_ONCE))))
        name = f"sages after {jobs:,} jobs"
        began = time.perf_counter()
        async with _sages(settings, directory) as grown:
            await _asked(settings, writer, _WARM_UP)
            figures.append(Figure(f"{name}: start until all are warm", profile, time.perf_counter() - began, "s"))
            milliseconds, told = await _asked(settings, writer, _ASKED)
            answer = f"{name}: from job.accepted to job.advised ({told})"
            figures += [
                Figure(f"{answer}, p50", profile, percentile(milliseconds, 50), "ms"),
                Figure(f"{answer}, p90", profile, percentile(milliseconds, 90), "ms"),
                Figure(f"{name}: memory of the process, PSS", profile, _pss(grown), "MiB"),
            ]
        figures += [
            Figure(f"{name}: {file.name}", profile, file.stat().st_size / _MIB, "MiB")
            for file in sorted(sages_directory(settings).glob("*.sqlite"))
        ]
    return figures


def _job(number: int) -> PastJob:
    text = f"Review the change {number}: does {number % 97} still hold for module {number % 1009}?"
    return PastJob(
        workload="claude",
        items=(text, {"prompt": f"And what of {text}"}),
        ran_ms=1000 + number % 9000,
        queued_ms=number % 500,
        cost_micros=1000 + number % 50_000,
        content_hash=f"{number:064x}",
    )


@asynccontextmanager
async def _sages(settings: Settings, directory: Path) -> AsyncIterator[psutil.Process]:
    async def works() -> None:
        found = await SAGES.trouble(settings)
        if found is not None:
            raise NotReadyError(found)

    spec = ServiceSpec(
        name="sages",
        command=python_command("services.sages"),
        env=settings.environment(),
        ready=works,
        ready_timeout_seconds=60.0,
        stop_grace_seconds=30.0,
    )
    service = Service(spec, log_dir=directory / "logs")
    await service.bring_up()
    try:
        yield psutil.Process(service.pid)
    finally:
        await service.shut_down()


async def _asked(settings: Settings, writer: HistoryWriter, questions: int) -> tuple[list[float], str]:
    """Ask one after the other, once no sage is warming.

    Returns milliseconds from the send to the advice read back, and in words how many answers of each sage were `ok`.
    """
    async with following(settings, JOBS_HISTORY) as consumer:
        async with asyncio.timeout(_WAIT_SECONDS):
            while any(entry.status == "warming" for entry in (await _answer(consumer, writer, -1))[1].entries):
                pass
            answers = [await _answer(consumer, writer, number) for number in range(questions)]
    answered = Counter(entry.sage for _, fact in answers for entry in fact.entries if entry.status == "ok")
    told = ", ".join(f"{entry.sage} {answered[entry.sage]}" for entry in answers[0][1].entries)
    return [milliseconds for milliseconds, _ in answers], f"ok of {questions}: {told}"


async def _answer(consumer: Any, writer: HistoryWriter, number: int) -> tuple[float, JobAdvised]:
    job_id = str(uuid4())
    fact = accepted(job_id, _job(number), advise_within_ms=_WAITS_MS)
    began = time.perf_counter()
    await writer.append(job_id, [(now_ms(), fact)])
    while True:
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                is_advice = header_text(record.headers, "ce_type") == JobAdvised.fact_type
                if is_advice and record.key == job_id.encode():
                    took = 1000 * (time.perf_counter() - began)
                    return took, JobAdvised.model_validate_json(record.value)


def _pss(process: psutil.Process) -> float:
    """Of the service and everything below it."""
    return sum(each.memory_full_info().pss for each in (process, *process.children(recursive=True))) / _MIB
