"""Validates submits with the plug-ins of other distributions, each in a process that can be killed.

Their `validate` may never end: on the event loop that would block all jobs, and a thread cannot be killed. The mesh's
own workloads validate in limited time, and are called directly.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import pickle
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue

from eldermesh.launch import python_command
from eldermesh.shield import to_its_end
from services.router.admission.plugin_judge_child import PROCESSOR_SECONDS
from shared.errors import DeadLetterError, RetryableError
from shared.logs.setup import get_logger
from shared.processes import leash
from shared.processes.children import signal_child, signal_name, start_on_leash
from shared.settings import Settings

ANSWER_SECONDS: Final = 10.0
"""Wall time for one submit, generous for a busy machine; `PROCESSOR_SECONDS` is the limit meant for plug-ins."""

START_SECONDS: Final = 30.0
"""For the interpreter to start and the plug-in to be imported."""

ENDLESS_JUDGEMENTS: Final = 3
"""After as many in a row the plug-in itself is at fault, and is not asked for `REST_SECONDS`."""

REST_SECONDS: Final = 30.0

_MOST_KEPT: Final = 1000
"""Judgements kept for callers that were cancelled and may ask again."""

_MAX_ANSWER_BYTES = 64 * 1024
_DEATH_SECONDS = 2.0
_NO_ANSWER = (EOFError, ConnectionError, ValueError, asyncio.LimitOverrunError)
_MODULE = "services.router.admission.plugin_judge_child"

_log = get_logger(__name__)


class PluginJudges:
    """The judges of a router, one for each workload; `now` is a monotonic clock, in seconds."""

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._now = now
        self._judges: dict[str, PluginJudge] = {}

    async def judge(self, workload: str, options: Mapping[str, JsonValue], items: Sequence[JsonValue] | None) -> None:
        """Return if the plug-in of an installed workload accepts the submit.

        Raises:
            DeadLetterError: it refuses the submit, or does not validate it within the limits.
            RetryableError: no process can be started now.
        """
        judge = self._judges.setdefault(workload, PluginJudge(workload, self._settings, self._now))
        await judge.judge(options, items)

    async def close(self) -> None:
        """End their processes."""
        await asyncio.gather(*(judge.close() for judge in self._judges.values()))


class PluginJudge:
    """One plug-in's process, started when needed and again after it ended; it validates one submit at a time.

    A judgement goes on when its caller is cancelled, for example because the time of a batch of records was over before
    the process had started. When the record is delivered again, the same question gets that judgement.
    """

    def __init__(self, workload: str, settings: Settings, now: Callable[[], float]) -> None:
        self._workload = workload
        self._now = now
        self._settings = settings
        self._one_at_a_time = asyncio.Lock()
        self._process: Process | None = None
        self._judgements: dict[bytes, asyncio.Task[None]] = {}
        self._endless = 0
        self._rests_until = float("-inf")
        self._why_it_rests = ""

    async def judge(self, options: Mapping[str, JsonValue], items: Sequence[JsonValue] | None) -> None:
        """As `PluginJudges.judge`."""
        request = json.dumps({"options": dict(options), "items": None if items is None else list(items)}).encode()
        digest = hashlib.sha256(request).digest()
        judgement = self._judgements.get(digest)
        if judgement is None:
            judgement = self._judgements[digest] = asyncio.create_task(self._judged(request))
            judgement.add_done_callback(_mark_as_read)
        await asyncio.wait({judgement})
        if self._judgements.get(digest) is judgement:
            del self._judgements[digest]
        if len(self._judgements) > _MOST_KEPT:
            self._judgements = {digest: each for digest, each in self._judgements.items() if not each.done()}
        judgement.result()

    async def close(self) -> None:
        """End the process."""
        judgements = list(self._judgements.values())
        for judgement in judgements:
            judgement.cancel()
        if judgements:
            await asyncio.wait(judgements)
        await self._end()

    async def _judged(self, request: bytes) -> None:
        async with self._one_at_a_time:
            if self._now() < self._rests_until:
                raise self._refusal(self._why_it_rests)
            if self._process is not None and _has_ended(self._process):
                await self._end()
            process = self._process or await self._start()
            answer: dict[str, Any] | None = None
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    answer = await _ask(process, request)
            except TimeoutError:
                raise self._endless_refusal() from None
            except _NO_ANSWER as error:
                await _ended(process)
                if process.returncode == -signal.SIGPROF:
                    raise self._endless_refusal() from error
                raise self._refusal(f"its process {_how_it_ended(process)}") from error
            finally:
                if answer is None:
                    await to_its_end(self._end())
        self._endless = 0
        if "refused" in answer:
            error_type, reason = answer["refused"]
            raise DeadLetterError(error_type, reason)
        if "failed" in answer:
            raise self._refusal(answer["failed"])

    def _refusal(self, why: str) -> DeadLetterError:
        return DeadLetterError("internal", f"workload {self._workload} could not judge the job: {why}")

    def _endless_refusal(self) -> DeadLetterError:
        limits = f"{PROCESSOR_SECONDS:g} s of processor time or {ANSWER_SECONDS:g} s in all"
        self._endless += 1
        _log.error("a workload's plug-in does not end judging a job", workload=self._workload, in_a_row=self._endless)
        if self._endless >= ENDLESS_JUDGEMENTS:
            self._endless = 0
            self._rest(f"it did not end within {limits} {ENDLESS_JUDGEMENTS} times, and is not asked for a while")
        return self._refusal(f"its `validate` did not end within {limits}")

    def _rest(self, why: str) -> None:
        self._rests_until = self._now() + REST_SECONDS
        self._why_it_rests = why

    async def _start(self) -> Process:
        try:
            process = await start_on_leash(
                python_command(_MODULE, self._workload), stdin=PIPE, stdout=PIPE, limit=_MAX_ANSWER_BYTES
            )
        except OSError as error:
            raise RetryableError(f"no process for the plug-in of workload {self._workload}: {error}") from error
        answer: dict[str, Any] = {}
        try:
            async with asyncio.timeout(START_SECONDS):
                answer = await _ask(process, pickle.dumps(self._settings).hex().encode())
        except TimeoutError:
            answer = {"failed": f"its import took more than {START_SECONDS:g} s"}
        except _NO_ANSWER:
            await _ended(process)
            answer = {"failed": f"its process {_how_it_ended(process)} when it was imported"}
        except BaseException:
            await to_its_end(_end(process))
            raise
        if "failed" in answer:
            await to_its_end(_end(process))
            self._rest(answer["failed"])  # it is not the record's fault, and the next one would fail the same way
            raise self._refusal(answer["failed"])
        self._process = process
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await _end(process)


def _mark_as_read(judgement: asyncio.Task[None]) -> None:
    if not judgement.cancelled():
        judgement.exception()  # marks it as read: perhaps no caller asks again


async def _ask(process: Process, request: bytes) -> dict[str, Any]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process has no pipes")
    process.stdin.write(request + b"\n")
    await process.stdin.drain()
    answer: dict[str, Any] = json.loads(await process.stdout.readuntil(b"\n"))
    return answer


def _has_ended(process: Process) -> bool:
    """Whether it has ended, or was killed, since its last answer."""
    return process.returncode is not None or (process.stdout is not None and process.stdout.at_eof())


async def _ended(process: Process) -> None:
    """Wait for the end of a process that answers no more, to learn how it ended."""
    try:
        async with asyncio.timeout(_DEATH_SECONDS):
            await process.wait()
    except TimeoutError:
        await _end(process)


async def _end(process: Process) -> None:
    signal_child(process, leash.KILL_NOW)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await process.communicate()


def _how_it_ended(process: Process) -> str:
    status = process.returncode or 0
    return f"was killed by {signal_name(-status)}" if status < 0 else f"ended with exit status {status}"
