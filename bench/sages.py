"""The sages after ten thousand jobs: memory of the process, size of the files, and what the panel takes for a job.

The jobs never ran: their facts are published to the history of a real broker. The service is a process, as shipped.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from bench.parts import following, parts, running
from bench.report import Figure, percentile
from eldermesh.contract.cloudevents import header_text
from eldermesh_cli.stack.servers.mesh_services import sages_service
from eldermesh_cli.stack.service import Service
from services.sages.memory.table import sages_directory
from shared.facts.jobs import JobAdvised
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
        async with running(directory, sages_service(settings)) as fresh:
            await _asked(settings, writer, _WARM_UP)
            figures = [Figure("sages, fresh: memory of the process, PSS", profile, _pss(fresh), "MiB")]
        for first in range(0, jobs, _AT_ONCE):
            await asyncio.gather(*(writer.past(_job(number)) for number in range(first, min(jobs, first + _AT_ONCE))))
        name = f"sages after {jobs:,} jobs"
        began = time.perf_counter()
        async with running(directory, sages_service(settings)) as grown:
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


def _pss(services: Sequence[Service]) -> float:
    """Of the services and everything below them."""
    processes = [psutil.Process(service.pid) for service in services]
    below = [each for process in processes for each in process.children(recursive=True)]
    return sum(each.memory_full_info().pss for each in (*processes, *below)) / _MIB
