"""No CLI, nothing that it started, and no directory of its run outlives the run, however that ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from services.claude_exec.cli.run_directory import remove_abandoned, runs_path
from services.claude_exec.executor import Execution
from tests.integration.claude.playing import Claude, own_seconds, process_named, processes_named
from tests.integration.item_pids import all_gone
from tests.waiting import wait_until

_BASH: dict[str, Any] = {"allowed_tools": ["Bash"]}


def _sleeping(seconds: str) -> str:
    return f'[[tool Bash {{"command": "sleep {seconds}"}}]] [[reply done]]'


async def _begun(execution: Execution) -> int:
    return await wait_until(lambda: execution.pid, description="a CLI runs")


async def test_killed_from_outside(claude: Claude) -> None:
    """SIGKILL to the CLI in the middle of a tool call: another is started; the tool of the first is gone."""
    seconds = own_seconds()
    execution = claude.execution(_sleeping(seconds), options=_BASH)
    running = asyncio.create_task(execution.run())
    killed: list[int] = []
    for _ in range(2):
        tool = await wait_until(
            lambda: next((each for each in processes_named(seconds) if each.pid not in killed), None),
            description="the tool runs",
        )
        os.kill(await _begun(execution), signal.SIGKILL)
        await all_gone([tool])
        killed.append(tool.pid)
    outcome = await running
    assert (outcome.outcome, outcome.attempts, outcome.exit_status) == ("crashed", 2, -signal.SIGKILL)
    assert outcome.message == "the CLI was killed by SIGKILL (out of memory?); tried 2 times"


async def test_killed_once_is_made_good(claude: Claude) -> None:
    """The second CLI's outcome is the prompt's."""
    marker = claude.code / "once"
    script = f'if [ ! -e {marker} ]; then touch {marker}; kill -9 $$; fi; exec "$CLI" "$@"'
    outcome = await claude.run("[[reply fine]]", claude_cli=claude.wrapper(script))
    assert (outcome.outcome, outcome.output, outcome.attempts) == ("ok", "fine", 2)


async def test_stuck_after_the_result(claude: Claude) -> None:
    """The result counts; the CLI that does not end after it gets its grace, then SIGTERM, then SIGKILL."""
    seconds = own_seconds()
    script = f'trap "" TERM; "$CLI" "$@"; sleep {seconds}; sleep {seconds}'
    outcome = await claude.run("[[reply fine]]", claude_cli=claude.wrapper(script), claude_grace_seconds=0.5)
    assert (outcome.outcome, outcome.output, outcome.attempts) == ("ok", "fine", 1)
    assert outcome.exit_status == -signal.SIGKILL
    assert processes_named(seconds) == []


_ONCE_IT_RUNS = """
until grep -qs sleep /proc/$!/comm || ! kill -0 $!; do :; done
kill -0 $! || echo It has died.
"""
"""A script that ended before its child is `sleep` could leave something else behind."""


@pytest.mark.parametrize(
    "left",
    [
        "sleep {} > /dev/null 2>&1 &" + _ONCE_IT_RUNS,
        "setsid -f sleep {} < /dev/null > /dev/null 2>&1",
        "sleep {} &" + _ONCE_IT_RUNS,
    ],
    ids=["in the background", "in a session of its own", "with the tool's output"],
)
async def test_a_tool_that_leaves_a_process(claude: Claude, left: str) -> None:
    """`sleep 600 &`, with and without a session of its own, or holding the tool's output: gone with the CLI.

    (In a script: the CLI itself refuses `&` on the command line of a tool.)
    """
    seconds = own_seconds()
    (claude.code / "leave.sh").write_text(left.format(seconds), encoding="ascii")
    seen: list[int] = []

    async def look(message: Mapping[str, Any]) -> None:
        if message["type"] == "user":
            try:
                seen.append((await process_named(seconds)).pid)
            except AssertionError as error:
                error.add_note(f"the tool said {message['message']}")
                raise

    prompt = f'[[tool Bash {{"command": "bash {claude.code}/leave.sh"}}]] [[reply done]]'
    outcome = await claude.run(prompt, options=_BASH | {"cwd": str(claude.code)}, on_message=look)
    assert (outcome.outcome, outcome.output) == ("ok", "done")
    assert seen, "the process is there after the tool has ended"
    assert processes_named(seconds) == []


async def test_cancelled_during_a_tool_call(claude: Claude) -> None:
    """`Task.cancel` ends the CLI in order (it had time for its last words), and returns only then."""
    seconds = own_seconds()
    running = asyncio.create_task(claude.run(_sleeping(seconds), options=_BASH))
    tool = await process_named(seconds)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not tool.is_alive()
    assert claude.left_directories() == []


async def test_cancelled_again_and_again(claude: Claude) -> None:
    """An impatient caller does not cut the ending short, even where the CLI ignores SIGTERM."""
    seconds = own_seconds()
    script = f'trap "" TERM; "$CLI" "$@" & while true; do sleep {seconds}; done'
    running = asyncio.create_task(
        claude.run("[[delay 60]]", claude_cli=claude.wrapper(script), claude_grace_seconds=0.5)
    )
    await process_named(seconds)

    def gone() -> bool:
        running.cancel()
        return running.done()

    await wait_until(gone, description="the run has ended")
    assert running.cancelled()
    assert processes_named(seconds) == []
    assert claude.left_directories() == []


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_cancelled_while_it_starts(claude: Claude, steps: int) -> None:
    """At any step of the start."""
    running = asyncio.create_task(claude.run("[[delay 60]]"))
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert claude.left_directories() == []


async def test_kill(claude: Claude) -> None:
    """`kill` ends it at once, without any grace, and more than once is fine."""
    seconds, grace_seconds = own_seconds(), 3600.0
    script = f'trap "" TERM; "$CLI" "$@" & while true; do sleep {seconds}; done'
    cli = claude.wrapper(script)
    execution = claude.execution("[[delay 60]]", claude_cli=cli, claude_grace_seconds=grace_seconds)
    running = asyncio.create_task(execution.run())
    await process_named(seconds)
    execution.kill()
    execution.kill()
    outcome = await running
    assert (outcome.outcome, outcome.error_type, outcome.attempts) == ("cancelled", "cancelled", 1)
    assert outcome.duration_seconds < grace_seconds
    assert processes_named(seconds) == []


async def test_killed_before_it_begins(claude: Claude) -> None:
    """No CLI is started any more."""
    execution = claude.execution("hello")
    execution.kill()
    outcome = await execution.run()
    assert (outcome.outcome, outcome.exit_status) == ("cancelled", None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_the_worker_dies(claude: Claude, loopback_url: str, number: signal.Signals) -> None:
    """A process with a CLI in a tool call dies: all are gone, and what is left on disk the next worker removes."""
    seconds = own_seconds()
    command = (sys.executable, "-m", "tests.integration.claude.executing_program", loopback_url)
    settings = claude.settings()
    with subprocess.Popen([*command, str(settings.data_dir), _sleeping(seconds)]) as worker:  # noqa: ASYNC220 - short
        tool = await process_named(seconds)
        cli = next(path for path in runs_path(settings).iterdir() if path.is_dir())
        os.kill(worker.pid, number)
        worker.wait(100)
    await all_gone([tool])
    await wait_until(lambda: not processes_named(str(cli / "config")), description="nothing of it runs")
    await wait_until(lambda: remove_abandoned(settings) or not claude.left_directories(), description="it is tidy")
    assert claude.left_directories() == []
