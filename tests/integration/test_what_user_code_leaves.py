"""What a function leaves behind in its process ends neither the item host nor the next item, and repeats no effect."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from services.router.engines.python.item_process import HostDiedError, HostTimeoutError, ItemProcess
from shared.workloads import ItemFailed, ItemSucceeded
from tests.integration.leaving_functions import LEAVINGS, over_file
from tests.integration.one_item import call
from tests.waiting import wait_until

_FUNCTIONS = "tests.integration.leaving_functions"
_LIMIT_SECONDS = 60.0
_ROOT = Path(__file__).parents[2]


@pytest.fixture
async def host() -> AsyncIterator[ItemProcess]:
    """An item host that is started at its first call."""
    process = ItemProcess()
    yield process
    await process.close()


@pytest.mark.parametrize("what", list(LEAVINGS))
async def test_a_function_that_returned_has_succeeded(host: ItemProcess, what: str, tmp_path: Path) -> None:
    """It ran once, its result is there, and the same host runs the next item, a while later."""
    ran = tmp_path / "ran"
    item: list[JsonValue] = [what, str(ran)]
    outcome = await call(host, f"{_FUNCTIONS}:leave", item, timeout_seconds=_LIMIT_SECONDS)
    assert isinstance(outcome, ItemSucceeded), outcome
    pid = host.pid
    # The host has nothing to do meanwhile.
    await wait_until(over_file(ran).exists, description="whatever was left has come")
    outcome = await call(host, f"{_FUNCTIONS}:wait_a_little", 0.1, timeout_seconds=_LIMIT_SECONDS)
    assert isinstance(outcome, ItemSucceeded), outcome
    assert (host.pid, ran.read_text()) == (pid, "ran\n")


async def test_a_thread_that_never_ends_holds_up_no_close(host: ItemProcess, tmp_path: Path) -> None:
    """The host ends by itself, so what user code has registered for its end is done."""
    at_exit = tmp_path / "at exit"
    await call(host, f"{_FUNCTIONS}:leave_a_thread", str(at_exit), timeout_seconds=_LIMIT_SECONDS)
    await host.close()
    assert at_exit.exists()


async def test_a_function_that_stops_all_around_it_is_ended(host: ItemProcess) -> None:
    """Its time is over as if it had slept, and nothing of the host is left."""
    with pytest.raises(HostTimeoutError):
        await call(host, f"{_FUNCTIONS}:stop_all", None, timeout_seconds=1.0)
    outcome = await call(host, f"{_FUNCTIONS}:wait_a_little", 0.1, timeout_seconds=_LIMIT_SECONDS)
    assert isinstance(outcome, ItemSucceeded), outcome


async def test_a_signal_without_a_name_ends_a_host_like_any_other(host: ItemProcess) -> None:
    """Those of real time have none; it is a death, and not a failure of the worker's own code."""
    with pytest.raises(HostDiedError, match="was killed by signal 40"):
        await call(host, f"{_FUNCTIONS}:end_by_signal", 40, timeout_seconds=_LIMIT_SECONDS)


async def test_an_error_that_cannot_be_told_is_the_failure_of_its_item(host: ItemProcess) -> None:
    """Asking it for its text raises what would end the host; its type is told."""
    outcome = await call(host, f"{_FUNCTIONS}:fail_unspeakably", None, timeout_seconds=_LIMIT_SECONDS)
    assert isinstance(outcome, ItemFailed)
    assert (outcome.error_type, outcome.error_message) == ("exception", "_Unspeakable (its text raised SystemExit)")


async def test_an_error_without_a_name_is_the_failure_of_its_item(host: ItemProcess) -> None:
    """Asking its type for its name raises what would end the host."""
    outcome = await call(host, f"{_FUNCTIONS}:fail_without_a_name", None, timeout_seconds=_LIMIT_SECONDS)
    assert isinstance(outcome, ItemFailed)
    assert (outcome.error_type, outcome.error_message) == ("exception", "_NamelessError: told")
    outcome = await call(host, f"{_FUNCTIONS}:return_what_has_no_name", None, timeout_seconds=_LIMIT_SECONDS)
    assert isinstance(outcome, ItemFailed)
    assert outcome.error_type == "result_not_json"


async def test_a_result_that_cannot_be_read_is_the_failure_of_its_item(host: ItemProcess) -> None:
    """Reading it raises what would end the host."""
    outcome = await call(host, f"{_FUNCTIONS}:return_a_trap", None, timeout_seconds=_LIMIT_SECONDS)
    assert isinstance(outcome, ItemFailed)
    assert outcome.error_type == "result_not_json"


@pytest.mark.parametrize("what", ["stdout_none", "stdout_closed", "stdout_wrapped", "descriptors_closed"])
async def test_the_next_item_is_still_heard(
    host: ItemProcess, what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it prints is in the worker's log: another function's mess is not its own."""
    caplog.set_level(logging.INFO)
    await call(host, f"{_FUNCTIONS}:leave", [what, str(tmp_path / "ran")], timeout_seconds=_LIMIT_SECONDS)
    await call(host, f"{_FUNCTIONS}:wait_a_little", 0.0, timeout_seconds=_LIMIT_SECONDS)
    await host.close()
    assert [record for record in caplog.records if record.getMessage().endswith("waiting")]


_CALL = """
import asyncio, resource
from services.router.engines.python.item_process import ItemProcess
from tests.integration.one_item import call

async def main():
    host = ItemProcess()
    print(await call(host, "math:sqrt", 4, timeout_seconds=60.0))
    await host.close()

resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
asyncio.run(main())
"""


@pytest.mark.parametrize("files", [64, 150])
def test_a_host_starts_where_few_files_may_be_open(files: int) -> None:
    """As after `ulimit -n 150`: its own descriptors lie as high as they may, and not higher."""
    command = (sys.executable, "-c", _CALL.format(files=files))
    ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, "ItemSucceeded(3 bytes)\n"), ended.stderr
