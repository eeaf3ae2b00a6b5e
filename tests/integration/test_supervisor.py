"""The supervisor starts and stops services in order, starts again what dies, and when it gives up."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from eldermesh_cli.stack.errors import GaveUpError, NotReadyError, StackError, StartFailedError
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.processes.restarts import RestartPolicy
from eldermesh_cli.stack.report import report_of
from eldermesh_cli.stack.service import Service, ServiceSpec
from eldermesh_cli.stack.supervisor import Supervisor
from tests.waiting import wait_until

FAST = RestartPolicy(first_delay_seconds=0.05, max_delay_seconds=0.1, give_up_after=3)


class Stage:
    """A directory in which small shell services write down when they start and stop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self.supervisors: list[Supervisor] = []
        (path / "journal").touch()

    @property
    def journal(self) -> list[str]:
        """`start NAME` and `stop NAME`, in order."""
        return [" ".join(line.split()[:2]) for line in (self.path / "journal").read_text().splitlines()]

    def service(self, name: str, *depends_on: str, memory_only: bool = False) -> ServiceSpec:
        """A service that is ready when it has written that it started."""
        journal = self.path / "journal"
        script = (
            f"trap 'echo stop {name} >> {journal}; exit 0' TERM; echo start {name} $$ >> {journal}; sleep 100 & wait"
        )

        async def ready() -> None:
            pids = [line.split()[2] for line in journal.read_text().splitlines() if line.startswith(f"start {name} ")]
            if not pids or ProcessIdentity.of(int(pids[-1])) is None:
                raise NotReadyError("not yet")

        return ServiceSpec(
            name=name, command=("sh", "-c", script), depends_on=depends_on, ready=ready, memory_only=memory_only
        )

    def supervisor(self, *specs: ServiceSpec) -> Supervisor:
        """A supervisor of these; what it says is in `said`."""

        async def losses(name: str) -> Sequence[str]:
            return [f"a thing of {name}"]

        supervisor = Supervisor(
            specs, log_dir=self.path / "logs", policy=FAST, describe_loss=losses, announce=self.said.append
        )
        self.supervisors.append(supervisor)
        return supervisor


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage of which no process is left afterwards."""
    before = set(psutil.Process().children(recursive=True))
    stage = Stage(tmp_path)
    yield stage
    for supervisor in stage.supervisors:
        await supervisor.stop()
    assert set(psutil.Process().children(recursive=True)) - before == set()


def fails(name: str, *, memory_only: bool = False) -> ServiceSpec:
    """A service that ends as soon as it was started."""
    return ServiceSpec(name=name, command=("sh", "-c", "echo no luck; exit 4"), memory_only=memory_only)


async def test_start_and_stop_follow_the_dependencies(stage: Stage) -> None:
    """What is depended on is ready before, and stopped after; the report counts what was stopped."""
    supervisor = stage.supervisor(
        stage.service("a"), stage.service("b", "a"), stage.service("c", "b"), stage.service("d", "b")
    )
    await supervisor.start()
    assert stage.journal[:2] == ["start a", "start b"]
    assert sorted(stage.journal[2:]) == ["start c", "start d"]
    reports = {report.name: report for report in await supervisor.report()}
    assert {name: report.state for name, report in reports.items()} == dict.fromkeys("abcd", "running")
    assert all(report.pid and psutil.Process(report.pid).name() == "sh" for report in reports.values())
    assert all(report.rss_bytes > 1_000_000 for report in reports.values())

    report = await supervisor.stop()
    assert (report.stopped_processes, report.killed_processes) == (4, 0)
    assert sorted(stage.journal[4:6]) == ["stop c", "stop d"]
    assert stage.journal[6:] == ["stop b", "stop a"]
    assert {report.state for report in await supervisor.report()} == {"stopped"}
    assert (await supervisor.stop()).stopped_processes == 0


def test_an_order_that_cannot_be_is_refused(stage: Stage) -> None:
    """Dependencies come first, names are unique."""
    with pytest.raises(StackError, match="b depends on a, which must come before it"):
        stage.supervisor(stage.service("b", "a"), stage.service("a"))
    with pytest.raises(StackError, match="two services are called a"):
        stage.supervisor(stage.service("a"), stage.service("a"))


async def test_a_failed_start_stops_everything_and_says_why(stage: Stage) -> None:
    """A service that ends instead of becoming ready: the error has its status and last lines; the rest is stopped."""
    failing = fails("b")
    supervisor = stage.supervisor(stage.service("a"), replace(failing, ready=never, depends_on=("a",)))
    with pytest.raises(StartFailedError, match=r"b did not start: it exited with status 4(?s:.*)no luck"):
        await supervisor.start()
    assert stage.journal == ["start a", "stop a"]


async def never() -> None:
    """Not ready, ever."""
    raise NotReadyError("the moon is not full")


async def test_a_service_that_does_not_become_ready_is_not_waited_for_for_ever(stage: Stage) -> None:
    """The limit passes: the error says what was missing, and the process is gone."""
    spec = ServiceSpec(name="a", command=("sleep", "100"), ready=never, ready_timeout_seconds=0.2)
    with pytest.raises(StartFailedError, match=r"not ready within 0.2 s: the moon is not full"):
        await stage.supervisor(spec).start()


async def test_a_preparation_is_done_at_each_start_before_the_dependents(stage: Stage) -> None:
    """`prepare` runs between readiness and the dependents; when it raises, the start fails with its reason."""
    seen: list[list[str]] = []

    async def prepare() -> None:
        seen.append(stage.journal)
        if len(seen) > 1:
            raise ValueError("cannot be prepared")

    prepared = replace(stage.service("a"), prepare=prepare)
    supervisor = stage.supervisor(prepared, stage.service("b", "a"))
    await supervisor.start()
    assert seen == [["start a"]]
    await supervisor.stop()
    with pytest.raises(StartFailedError, match="cannot be prepared"):
        await supervisor.start()


async def test_a_service_that_dies_is_started_again(stage: Stage) -> None:
    """SIGKILL to one: it alone gets a new process, and the restart is counted and told."""
    supervisor = stage.supervisor(stage.service("a"), stage.service("b", "a"))
    await supervisor.start()
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    first_pid, other_pid = supervisor.services["a"].pid, supervisor.services["b"].pid
    assert first_pid is not None
    os.kill(first_pid, signal.SIGKILL)
    await wait_until(lambda: stage.journal.count("start a") == 2, description="a is started again")
    await wait_until(lambda: supervisor.services["a"].state == "running", description="a runs")
    assert supervisor.services["a"].pid not in (None, first_pid)
    assert supervisor.services["b"].pid == other_pid
    assert [report.restarts_total for report in await supervisor.report()] == [1, 0]
    assert stage.said[0].startswith("a was ended by SIGKILL; starting it again in 0.05 s")
    stop.set()
    await running


async def test_a_service_that_keeps_dying_is_started_again_for_as_long_as_it_takes(stage: Stage) -> None:
    """Many deaths past the limit of the policy the rest goes on; how it ends is told, and one day it is well again."""
    cure = stage.path / "cure"
    ill = ("sh", "-c", f"test -e {cure} || exit 4; exec sleep 100")
    supervisor = stage.supervisor(stage.service("a"), ServiceSpec(name="b", command=ill))
    await supervisor.start()
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    pid = supervisor.services["a"].pid
    await wait_until(lambda: supervisor.services["b"].restarts_total > 3 * FAST.give_up_after, description="b goes on")
    assert not running.done()
    assert supervisor.services["a"].pid == pid
    (trouble,) = [report.trouble for report in await supervisor.report() if report.name == "b"]
    assert trouble is not None
    assert trouble.startswith("exited with status 4, ")
    assert trouble.endswith(" times in a row")
    assert "starting it again in 0.1 s" in stage.said[-1]
    cure.touch()

    def well() -> bool:
        pid = supervisor.services["b"].pid
        try:
            return pid is not None and psutil.Process(pid).name() == "sleep"
        except psutil.NoSuchProcess:  # one that was still ill has just ended
            return False

    await wait_until(well, description="b is well")
    stop.set()
    await running


def _has_said(stage: Stage, lines: int) -> bool:
    return len(stage.said) == lines


async def test_how_long_a_service_takes_to_start_is_no_part_of_its_life(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is ready after minutes and dies at once, again and again, is started again later each time."""
    clock = 0.0
    monkeypatch.setattr("eldermesh_cli.stack.supervisor.time", SimpleNamespace(monotonic=lambda: clock))
    spec = stage.service("a")
    is_ready = spec.ready
    assert is_ready is not None

    async def ready_after_minutes() -> None:
        nonlocal clock
        await is_ready()
        clock += 100.0

    supervisor = stage.supervisor(replace(spec, ready=ready_after_minutes))
    await supervisor.start()
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    service = supervisor.services["a"]
    for deaths in range(1, 4):
        await wait_until(lambda: service.state == "running", description="it runs")
        assert service.pid is not None
        os.kill(service.pid, signal.SIGKILL)
        await wait_until(partial(_has_said, stage, deaths), description="its death is told")
    stop.set()
    await running
    assert service.trouble == "was ended by SIGKILL, 3 times in a row"


async def test_a_trouble_that_was_over_is_not_told_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all services are started anew, those that were well do not look as if they had died."""
    service = Service(stage.service("a"), log_dir=stage.path / "logs")
    service.trouble = "exited with status 4"
    await service.bring_up()
    assert report_of(service).trouble == "exited with status 4"
    monkeypatch.setattr("eldermesh_cli.stack.service.QUICK_SECONDS", -1.0)
    assert report_of(service).trouble is None
    await service.shut_down()
    monkeypatch.undo()
    await service.bring_up()
    assert report_of(service).trouble is None
    await service.shut_down()


async def test_a_memory_only_service_that_keeps_dying_ends_the_run(stage: Stage) -> None:
    """Each of its deaths forgets what was acknowledged: after the third in a row `run` raises, naming it."""
    supervisor = stage.supervisor(fails("a", memory_only=True))
    await supervisor.start()
    with pytest.raises(GaveUpError, match="a died 3 times in quick succession"):
        await supervisor.run(asyncio.Event())
    assert "given up after 3 quick deaths" in stage.said[-1]


async def test_a_full_disk_ends_no_mesh(stage: Stage) -> None:
    """Neither what runs, nor what is said, nor a directory for temporary files can be written: services live on."""
    spec = stage.service("a")

    def no_space(_: object = None) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    full = False

    def changed() -> None:
        if full:
            no_space()

    said: list[str] = []

    def announce(line: str) -> None:
        said.append(line)
        changed()

    supervisor = Supervisor([spec], log_dir=stage.path / "logs", policy=FAST, changed=changed, announce=announce)
    stage.supervisors.append(supervisor)
    await supervisor.start()
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    full = True
    temporary = stage.path / "tmp"
    shutil.rmtree(temporary)
    temporary.touch()  # no directory can be made there
    pid = supervisor.services["a"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: supervisor.services["a"].restarts_total > 2, description="it is tried again and again")
    assert not running.done(), running.exception()
    temporary.unlink()
    await wait_until(lambda: supervisor.services["a"].state == "running", description="a runs")
    assert any("could not be written down" in line for line in said)
    stop.set()
    await running


async def test_the_death_of_a_memory_only_service_starts_everything_anew(stage: Stage) -> None:
    """What was lost is said; all services are stopped in order and started in order, and all restarts are counted."""
    supervisor = stage.supervisor(stage.service("a", memory_only=True), stage.service("b"), stage.service("c", "a"))
    await supervisor.start()
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    pid = supervisor.services["a"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await wait_until(
        lambda: all(
            service.restarts_total == 1 and service.state == "running" for service in supervisor.services.values()
        ),
        description="everything was started anew",
    )
    assert sorted(stage.journal[3:5]) == ["stop b", "stop c"]
    assert stage.journal.index("start c", 5) > stage.journal.index("start a", 5)
    assert stage.said[:2] == [
        "a was ended by SIGKILL: what it held is lost, so the whole mesh starts anew",
        "lost with a: a thing of a",
    ]
    stop.set()
    await running


async def test_a_service_that_does_not_start_anew_costs_no_other_one(stage: Stage) -> None:
    """The memory-only service dies, and another is ill meanwhile: the rest starts anew once, and is not lost again."""
    ill, cured = stage.path / "ill", stage.service("b", "a")
    spoiled = ("sh", "-c", f"if test -e {ill}; then exit 4; fi; {cured.command[2]}")
    supervisor = stage.supervisor(
        stage.service("a", memory_only=True),
        replace(cured, command=spoiled),
        stage.service("c", "b"),
        stage.service("d", "a"),
    )
    await supervisor.start()
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    ill.touch()
    pid = supervisor.services["a"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await wait_until(
        lambda: supervisor.services["b"].restarts_total > 2 * FAST.give_up_after, description="b is tried again"
    )
    await wait_until(
        lambda: [stage.journal.count(f"start {name}") for name in "ad"] == [2, 2], description="a and d run anew"
    )
    assert not running.done()
    ill.unlink()
    await wait_until(
        lambda: all(service.state == "running" for service in supervisor.services.values()), description="all run"
    )
    assert stage.journal.count("start a") == 2
    stop.set()
    await running


async def test_a_memory_only_service_that_does_not_start_anew_ends_the_run(stage: Stage) -> None:
    """It is given up after as many starts in vain as after deaths, whatever the others do."""
    ill = stage.path / "ill"

    async def ready() -> None:
        if ill.exists():
            raise NotReadyError("ill")

    memory_only = replace(stage.service("a", memory_only=True), ready=ready, ready_timeout_seconds=1.0)
    supervisor = stage.supervisor(memory_only, stage.service("b", "a"), stage.service("c"))
    await supervisor.start()
    running = asyncio.create_task(supervisor.run(asyncio.Event()))
    ill.touch()
    pid = supervisor.services["a"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(GaveUpError, match="a died 3 times"):
        await running
    assert stage.journal.count("start b") == 1


async def test_hurry_cuts_a_grace_short(stage: Stage) -> None:
    """A stop that would wait a minute for a stubborn service ends at once, and says that it killed."""
    script = f"trap '' TERM; echo start a $$ >> {stage.path}/journal; sleep 100"
    supervisor = stage.supervisor(replace(stage.service("a"), command=("sh", "-c", script), stop_grace_seconds=60.0))
    await supervisor.start()
    async with asyncio.timeout(50):
        stopping = asyncio.create_task(supervisor.stop())
        await wait_until(lambda: supervisor.services["a"].state == "stopping", description="it is being stopped")
        supervisor.hurry()
        report = await stopping
    assert (report.stopped_processes, report.killed_processes) == (1, 1)
