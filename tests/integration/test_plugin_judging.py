"""Plug-ins judge in a process of their own: whatever one does there costs its submit alone, and holds up no other."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import JsonValue

from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.records import PublicRecord
from services.router.admission import plugin_judge
from services.router.admission.commands import JobAdmission
from services.router.admission.plugin_judge import PluginJudges
from shared.consumer.handler import Subscription
from shared.consumer.inbox import InboxConsumer
from shared.errors import DeadLetterError
from shared.kafka.clients import make_producer
from shared.kafka.topics import JOBS, JOBS_DEAD, JOBS_HISTORY
from shared.settings import Settings
from shared.workloads import WorkloadRegistry
from tests.fresh_topics import fresh_topics
from tests.inboxes import Sent, publish, read_all
from tests.integration import odd_workload
from tests.malformed import job
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def settings(embedded_broker: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Topics of this test."""
    async with fresh_topics(embedded_broker, "embedded", data_dir=tmp_path) as settings:
        yield settings


@pytest.fixture(autouse=True)
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-in `odd` is installed, here and in child processes."""
    odd_workload.install(tmp_path / "site")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{ROOT}")
    importlib.invalidate_caches()


@asynccontextmanager
async def admitting(settings: Settings) -> AsyncIterator[InboxConsumer]:
    """Admission that runs, on `jobs`."""
    producer = make_producer(settings)
    await producer.start()
    admission = JobAdmission(settings, producer, WorkloadRegistry.installed())
    consumer = InboxConsumer(settings, [Subscription(JOBS, "tests.judging", admission)], producer)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
        await admission.close()
        await producer.stop()


def _id(number: int) -> str:
    return str(UUID(int=0xC0DE0000 + number))


def _odd(number: int, do: str) -> Sent:
    return Sent(job(job_id=_id(number), workload="odd", options={"do": do}))


async def _told(settings: Settings, topic: str, count: int) -> list[PublicRecord]:
    async def enough() -> list[PublicRecord]:
        records = await read_all(settings, topic)
        return records if len(records) >= count else []

    return await wait_until(enough, description=f"{count} records on {topic}", timeout_seconds=60, interval_seconds=0.1)


async def test_jobs_of_others_go_on_while_a_plug_in_judges(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is at one submit, and does not come to an end before all others of the same batch are accepted."""
    monkeypatch.setattr(plugin_judge, "ANSWER_SECONDS", 60.0)
    gate = tmp_path / "gate"
    good = [Sent(job(job_id=_id(number))) for number in range(40)]
    await publish(settings, JOBS, [_odd(100, f"wait for {gate}"), *good, _odd(101, "take")])
    async with admitting(settings) as consumer:
        accepted = await _told(settings, JOBS_HISTORY, len(good))
        assert {each.key_text() for each in accepted} == {_id(number) for number in range(40)}
        gate.touch()
        accepted = await _told(settings, JOBS_HISTORY, len(good) + 2)
        assert {each.key_text() for each in accepted} >= {_id(100), _id(101)}
        assert consumer.is_alive()
    assert not await read_all(settings, JOBS_DEAD)


async def test_a_plug_in_that_spins_costs_its_submits_alone(settings: Settings) -> None:
    """They are refused with the reason; the good ones around them are accepted, those of the same plug-in, too."""
    records = [_odd(0, "spin"), Sent(job(job_id=_id(1))), _odd(2, "take"), _odd(3, "spin"), Sent(job(job_id=_id(4)))]
    await publish(settings, JOBS, records)
    async with admitting(settings) as consumer:
        letters = await _told(settings, JOBS_DEAD, 2)
        accepted = await _told(settings, JOBS_HISTORY, 3)
        assert consumer.is_alive()
    assert {each.key_text() for each in accepted} == {_id(1), _id(2), _id(4)}
    told = [DeadLetterHeaders.decode(letter.headers) for letter in letters]
    assert {letter.key_text() for letter in letters} == {_id(0), _id(3)}
    limits = "2 s of processor time or 10 s in all"
    assert {(each.error_type, each.reason) for each in told} == {
        ("internal", f"workload odd could not judge the job: its `validate` did not end within {limits}")
    }


ENDLESS = "its `validate` did not end"


@pytest.mark.parametrize(
    ("do", "why"),
    [
        ("spin in C", ENDLESS),
        ("sleep", ENDLESS),
        ("stop", ENDLESS),
        ("spin elsewhere", ENDLESS),
        ("exit", "its process ended with exit status 3"),
        ("crash", "its process was killed by SIGSEGV"),
        ("sys.exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("panic", "Panic"),
        ("take memory", "MemoryError"),
        ("nothing that it knows", "KeyError"),
    ],
)
async def test_whatever_it_does_is_told_and_the_next_submit_is_judged(
    do: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And when the judges are closed nothing of it is left."""
    monkeypatch.setattr(plugin_judge, "ANSWER_SECONDS", 3.0)
    judges = PluginJudges(Settings(_env_file=None))
    try:
        with pytest.raises(DeadLetterError, match="workload odd could not judge the job") as refused:
            await judges.judge("odd", {"do": do}, [1])
        assert (refused.value.error_type, why in refused.value.reason) == ("internal", True), refused.value.reason
        await judges.judge("odd", {"do": "take"}, [1])
        await judges.judge("odd", {"do": "print"}, None)
    finally:
        await judges.close()


async def test_its_own_refusal_reaches_the_sender() -> None:
    """It saw the items as a tuple, and the settings of the router."""
    settings = Settings(_env_file=None, topic_prefix="here")
    judges = PluginJudges(settings)
    try:
        with pytest.raises(DeadLetterError) as refused:
            await judges.judge("odd", {"do": "refuse"}, [1, 2])
        assert (refused.value.error_type, refused.value.reason) == ("invalid", "tuple of 2, here")
    finally:
        await judges.close()


async def test_a_plug_in_that_ends_no_judgement_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three in a row it is not asked for a while, so that it does not hold up the inbox; then it is again."""
    monkeypatch.setattr(plugin_judge, "ANSWER_SECONDS", 0.2)
    later = 0.0
    judges = PluginJudges(Settings(_env_file=None), now=lambda: time.monotonic() + later)
    try:
        for _ in range(plugin_judge.ENDLESS_JUDGEMENTS):
            with pytest.raises(DeadLetterError, match=ENDLESS):
                await judges.judge("odd", {"do": "sleep"}, [1])
        with pytest.raises(DeadLetterError, match="3 times, and is not asked for a while"):
            await judges.judge("odd", {"do": "take"}, [1])
        monkeypatch.setattr(plugin_judge, "ANSWER_SECONDS", 60.0)
        later = plugin_judge.REST_SECONDS
        await judges.judge("odd", {"do": "take"}, [1])
    finally:
        await judges.close()


async def test_who_was_cancelled_has_the_judgement_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch whose time is over before the process has started is delivered again: it does not begin anew."""
    monkeypatch.setattr(plugin_judge, "ANSWER_SECONDS", 60.0)
    gate, judges = tmp_path / "gate", PluginJudges(Settings(_env_file=None))
    options: dict[str, JsonValue] = {"do": f"wait for {gate}"}
    try:
        await judges.judge("odd", {"do": "take"}, [1])
        asking = asyncio.create_task(judges.judge("odd", options, [1]))
        (judge,) = judges._judges.values()  # noqa: SLF001 - what a cancellation must not end
        await wait_until(lambda: judge._judgements, description="the judgement has begun")  # noqa: SLF001 - the same
        process = judge._process  # noqa: SLF001 - the same
        asking.cancel()
        await asyncio.wait({asking})
        gate.touch()
        await judges.judge("odd", options, [1])
        assert judge._process is process  # noqa: SLF001 - the same
    finally:
        await judges.close()


async def test_a_judge_that_was_killed_between_two_submits_costs_neither() -> None:
    """As by the kernel, when memory is short."""
    judges = PluginJudges(Settings(_env_file=None))
    try:
        await judges.judge("odd", {"do": "take"}, [1])
        (judge,) = judges._judges.values()  # noqa: SLF001 - whose process dies
        process = judge._process  # noqa: SLF001 - the same
        assert process is not None
        process.kill()
        await process.wait()
        await judges.judge("odd", {"do": "take"}, [2])
    finally:
        await judges.close()


async def test_a_plug_in_that_cannot_be_loaded(tmp_path: Path) -> None:
    """Each of its jobs is refused with the class of what importing it raised, and the import is not tried each time."""
    info = tmp_path / "site" / "odd_workload-1.dist-info"
    (info / "entry_points.txt").write_text("[eldermesh.workloads]\nodd = no_such_module:Odd\n", "utf-8")
    judges = PluginJudges(Settings(_env_file=None))
    try:
        for _ in range(100):
            with pytest.raises(DeadLetterError, match="workload odd could not judge the job: ConfigurationError"):
                await judges.judge("odd", {"do": "take"}, [1])
    finally:
        await judges.close()


def test_what_comes_with_the_mesh_is_asked_on_the_spot() -> None:
    """Its workloads judge in bounded time, and without a process."""
    registry = WorkloadRegistry.installed()
    assert {name: registry.is_plug_in(name) for name in registry.names} == {
        "claude": False,
        "odd": True,
        "python": False,
    }
