"""The panel: an entry of each sage, whatever the others do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from pydantic import JsonValue

from services.sages.panel import sage_thread
from services.sages.panel.panel import MAX_ENTRIES_BYTES, Panel, fitting
from services.sages.sage import Question, installed_sages
from services.sages.task import TaskSage
from shared.facts.jobs import AdviceEntry
from shared.settings import Settings
from shared.telemetry import metric_names, names
from shared.telemetry.spans import span
from tests.integration.sages.played_sages import (
    BlockingSage,
    PlayedSage,
    RaisingSage,
    SleepingSage,
    VerboseSage,
    WarmingSage,
    WrongSage,
    panel_of,
    question,
)
from tests.metric_reader import metric_reader
from tests.recorded_spans import recorded_spans
from tests.waiting import wait_until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A minute for each sage: one that answers at once is never late, on a busy machine too."""
    return Settings(data_dir=tmp_path, sage_seconds=60.0)


def impatient(settings: Settings, sage_seconds: float) -> Settings:
    """The same for a panel of which some never answer in time."""
    return settings.model_copy(update={"sage_seconds": sage_seconds})


async def started(panel: Panel, *sages: str) -> None:
    """Wait until each of these sages has started on a thread of its own: none of them is still warming."""

    async def all_started() -> bool:
        said = statuses(await panel.ask(question()))
        return "warming" not in {said[name] for name in sages}

    await wait_until(all_started, description=f"{sages} have started")


async def answering(panel: Panel, name: str) -> None:
    """Wait until a sage answers in time."""

    async def answers() -> bool:
        return statuses(await panel.ask(question()))[name] == "ok"

    await wait_until(answers, description=f"{name} answers")


def statuses(entries: tuple[AdviceEntry, ...]) -> dict[str, str]:
    """Status by sage."""
    return {entry.sage: entry.status for entry in entries}


async def test_each_sage_has_its_entry_whatever_the_others_do(settings: Settings) -> None:
    """Late, blocked, raising, warming, too long, no JSON: the fast one's advice counts, and nobody waits longer."""
    sleeping, blocking = SleepingSage(), BlockingSage()
    sages = {
        "blocking": lambda: blocking,
        "fast": PlayedSage,
        "raising": RaisingSage,
        "sleeping": lambda: sleeping,
        "verbose": VerboseSage,
        "warming": WarmingSage,
        "wrong": WrongSage,
    }
    async with panel_of(sages, impatient(settings, 2.0)) as panel:
        try:
            await started(panel, *(sages.keys() - {"warming"}))
            asked = question("what is a monad?", {"prompt": "and a functor?"}, 3)
            began = time.monotonic()
            entries = await panel.ask(asked)
            took = time.monotonic() - began
            assert statuses(entries) == {
                "blocking": "late",
                "fast": "ok",
                "raising": "failed",
                "sleeping": "late",
                "verbose": "failed",
                "warming": "warming",
                "wrong": "failed",
            }
            advice = {entry.sage: entry.advice for entry in entries}
            assert advice.pop("fast") == {"job_id": asked.job_id, "texts": ["what is a monad?", "and a functor?"]}
            assert set(map(str, advice.values())) == {"{}"}
            assert took < 30, "the blocking one holds its thread for a minute"
            await wait_until(sleeping.cancelled.is_set, description="work that nobody waits for is cancelled")
        finally:
            blocking.free.set()


async def test_a_blocked_sage_gets_no_more_than_so_many_questions(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After that it fails at once, until it has answered; then it is asked again."""
    monkeypatch.setattr(sage_thread, "MAX_UNANSWERED", 2)

    sage = BlockingSage()
    async with panel_of({"blocked": lambda: sage}, impatient(settings, 0.5)) as panel:
        try:
            seen = []
            while "failed" not in seen:
                seen += [status for status in statuses(await panel.ask(question())).values() if status != "warming"]
        finally:
            sage.free.set()
        assert seen == ["late", "late", "failed"]
        await answering(panel, "blocked")


async def test_a_sage_that_does_not_start_is_tried_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile it has failed, and the others are asked as ever. A plug-in that is missing is such a sage."""
    monkeypatch.setattr(sage_thread, "_FIRST_PAUSE_SECONDS", 0.01)
    failures: Iterator[BaseException | None] = iter([ImportError("no such module"), SystemExit("no licence"), None])

    def make() -> PlayedSage:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return PlayedSage()

    def missing() -> PlayedSage:
        raise ModuleNotFoundError("services.sages.fifth")

    async with panel_of({"fast": PlayedSage, "missing": missing, "second_try": make}, settings) as panel:
        await started(panel, "fast", "missing")
        await answering(panel, "second_try")
        assert statuses(await panel.ask(question())) == {"fast": "ok", "missing": "failed", "second_try": "ok"}


@pytest.mark.parametrize("failure", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("from inside")])
async def test_a_sage_that_exits_fails_that_question_alone(settings: Settings, failure: BaseException) -> None:
    """Neither its thread nor the service ends: the next question is answered."""
    failures: list[BaseException] = []

    class Exiting(PlayedSage):
        async def advise(self, question: Question) -> dict[str, JsonValue]:
            """Once not."""
            if failures:
                raise failures.pop()
            return await super().advise(question)

    async with panel_of({"exiting": Exiting}, settings) as panel:
        await answering(panel, "exiting")
        failures.append(failure)
        assert statuses(await panel.ask(question())) == {"exiting": "failed"}
        assert statuses(await panel.ask(question())) == {"exiting": "ok"}


async def test_closing_closes_each_and_leaves_a_blocked_one_behind(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that a sage does keeps the service from stopping; and who asks afterwards is told so."""
    monkeypatch.setattr(sage_thread, "CLOSE_SECONDS", 0.2)
    played, blocking = PlayedSage(), BlockingSage()
    panel = Panel({"blocking": lambda: blocking, "fast": lambda: played}, settings)
    await panel.close()  # was never started
    panel = Panel({"blocking": lambda: blocking, "fast": lambda: played}, impatient(settings, 0.5))
    await panel.start()
    try:
        await started(panel, "blocking", "fast")
        await panel.close()
        assert played.closed.is_set()
        assert not blocking.closed.is_set()
        assert statuses(await panel.ask(question()))["fast"] != "ok"
    finally:
        blocking.free.set()
    await wait_until(blocking.closed.is_set, description="the thread that was left behind ends")


async def test_nothing_of_the_job_is_in_logs_and_spans(settings: Settings) -> None:
    """An exception may quote a prompt: only its class is told."""
    with recorded_spans() as exporter, structlog.testing.capture_logs() as logs:
        async with panel_of({"fast": PlayedSage, "raising": RaisingSage}, settings) as panel:
            await started(panel, "fast", "raising")
            exporter.clear()
            with span(names.ADVISE_JOB) as advising:
                await panel.ask(question("the password is hunter2"))
                parent = advising.get_span_context().span_id
    asked = [each for each in exporter.get_finished_spans() if each.name == names.ASK_SAGE.name]
    assert {(each.attributes or {})[names.SAGE]: (each.attributes or {})[names.SAGE_STATUS] for each in asked} == {
        "fast": "ok",
        "raising": "failed",
    }
    assert {each.parent.span_id for each in asked if each.parent is not None} == {parent}
    told = [entry for entry in logs if entry.get("sage") == "raising" and entry.get("status") == "failed"]
    assert [entry["why"] for entry in told] == ["KeyError"]
    assert "hunter2" not in repr(logs) + "".join(each.to_json() for each in exporter.get_finished_spans())


async def test_durations_are_measured_by_sage_and_status(settings: Settings) -> None:
    """One series each."""
    with metric_reader() as metrics:
        async with panel_of({"fast": PlayedSage, "raising": RaisingSage}, settings) as panel:
            await started(panel, "fast", "raising")
        assert metrics.samples(metric_names.SAGE_DURATION, names.SAGE).keys() == {"fast", "raising"}


def test_all_entries_together_have_a_bound() -> None:
    """The largest make room for the others."""
    entries = [AdviceEntry(sage=str(n), status="ok", advice={"text": "x" * (8000 - n)}) for n in range(6)]
    fitted = fitting(entries)
    assert [entry.status for entry in fitted] == ["failed", "failed", "ok", "ok", "ok", "ok"]
    assert sum(len(entry.model_dump_json()) for entry in fitted) <= MAX_ENTRIES_BYTES
    assert fitting(entries[:2]) == tuple(entries[:2])


def test_installed_sages_are_found_by_entry_point() -> None:
    """The four of the design; one that calls itself otherwise does not start."""
    sages = installed_sages()
    assert {"incident", "knowledge", "rag", "task"} <= set(sages)
    assert isinstance(sages["task"](), TaskSage)
