"""The demo as `make demo` runs it: it holds what it claims, and leaves nothing, however it ends."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from eldermesh_cli.demo.work import module_complexity, prime_factors, standard_modules
from tests.mesh import mesh_environment
from tests.waiting import wait_until

DEMO_SECONDS = 800.0


class Demo:
    """A demo whose home, temporary and working directories are known, so that whatever it leaves is seen."""

    def __init__(self, directory: Path) -> None:
        self.home, self.temporary, self.cwd = (directory / name for name in ("home", "temporary", "cwd"))
        for path in (self.home, self.temporary, self.cwd):
            path.mkdir()
        env = mesh_environment(directory / "not-used")
        self.env = {name: value for name, value in env.items() if not name.startswith(("MESH_", "XDG_"))}
        self.env |= {"HOME": str(self.home), "TMPDIR": str(self.temporary)}
        self.process: asyncio.subprocess.Process | None = None
        self._told = directory / "told"

    async def start(self) -> asyncio.subprocess.Process:
        """Start it."""
        with self._told.open("wb") as told:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "eldermesh_cli.demo"),
                cwd=self.cwd,
                env=self.env,
                stdout=told,
                stderr=asyncio.subprocess.STDOUT,
            )
        return self.process

    async def end(self) -> str:
        """Wait for its end, and return what it said."""
        assert self.process is not None
        try:
            async with asyncio.timeout(DEMO_SECONDS):
                await self.process.wait()
        except TimeoutError:
            pytest.fail(f"after {DEMO_SECONDS:g} s the demo had said:\n{self._told.read_text('utf-8')}")
        return self._told.read_text("utf-8")

    def processes(self) -> list[psutil.Process]:
        """All processes that have its home, whoever their parent is."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def files(self) -> list[Path]:
        """All files and sockets in its directories."""
        return [path for root in (self.home, self.temporary, self.cwd) for path in root.rglob("*")]


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Demo]:
    """A demo that has not been started."""
    demo = Demo(tmp_path)
    yield demo
    for process in demo.processes():
        process.kill()
    if demo.process is not None:
        await demo.process.wait()


@pytest.mark.slow
async def test_the_demo_holds_what_it_claims_and_leaves_nothing(demo: Demo) -> None:
    """Exit status 0, every check holds; no process, listener or file is left in its directories."""
    process = await demo.start()
    told = await demo.end()
    assert process.returncode == 0, told
    assert re.search(r"All \d+ checks hold", told), told
    assert "✗" not in told
    for expected in ("inspect", "undecodable", "itmes: unknown field", "process item"):
        assert expected in told, expected
    assert re.search(r"breaches +0\b", told), told
    assert demo.processes() == []
    assert demo.files() == []
    ports = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", told)}
    assert len(ports) >= 3
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, port


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "services"), [(signal.SIGINT, 2), (signal.SIGTERM, 10)], ids=["ctrl-c-at-start", "sigterm-while-it-runs"]
)
async def test_an_interrupted_demo_leaves_nothing(demo: Demo, number: signal.Signals, services: int) -> None:
    """Ctrl-C while the mesh starts, SIGTERM later: exit status 130, and nothing is left either."""
    process = await demo.start()
    await wait_until(
        lambda: len(demo.processes()) >= 2 + services, description="the mesh starts", timeout_seconds=200.0
    )
    process.send_signal(number)
    told = await demo.end()
    assert process.returncode == 130, told
    assert "nothing is left" in told
    assert demo.processes() == []
    assert demo.files() == []


async def test_a_demo_without_a_mesh_says_why(demo: Demo) -> None:
    """When the broker cannot run: exit status 3, the reason, and the logs are kept and named."""
    demo.env["CALF_TANSU_BIN"] = "/bin/false"
    process = await demo.start()
    told = await demo.end()
    assert process.returncode == 3, told
    assert "broker did not start: it exited with status 1" in told
    kept = re.search(r"Logs and spans are kept in (\S+)", told)
    assert kept is not None
    assert (Path(kept[1]) / "data" / "logs" / "broker.log").exists()
    assert demo.processes() == []


def test_the_demo_asks_only_for_modules_that_are_there() -> None:
    """The work itself, in this process: ninety modules, each parsed, none without a function counted as complex."""
    modules = standard_modules(90)
    assert len(set(modules)) == 90
    report = module_complexity("json")
    assert report["module"] == "json"
    assert report["functions"] >= 4
    assert report["complexity"] >= report["functions"]
    with pytest.raises(ValueError, match="no Python module 'no_such_module'"):
        module_complexity("no_such_module")


@pytest.mark.parametrize(
    ("number", "factors"), [(1, []), (2, [2]), (12, [2, 2, 3]), (49, [7, 7]), (97, [97]), (10**9 + 7, [10**9 + 7])]
)
def test_factors_are_prime(number: int, factors: list[int]) -> None:
    """In ascending order, as often as they divide; a prime is its own."""
    assert prime_factors(number) == factors
