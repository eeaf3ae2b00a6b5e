"""Renders the templates of operators in a process that can be killed, so that a template affects only its message."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from typing import Any

from eldermesh.launch import python_command
from eldermesh.shield import to_its_end
from services.notifier.templates.child import PROCESSOR_SECONDS
from shared.errors import RetryableError

ANSWER_SECONDS = 20.0
"""Includes the start of the process on a busy machine; the limit that matters is the processor time."""

_MODULE = "services.notifier.templates.child"
_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_PASSED_ON = ("PATH", "HOME", "PYTHONPATH", "ELDERMESH_USERS_PYTHONPATH")
"""Only these variables, because the environment has the secrets of channels."""


class TemplateFailedError(Exception):
    """The template cannot be rendered with these values or within its limits: use the default one."""


class TemplateProcess:
    """One process, started when needed and again after it ended; it renders one message at a time."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def texts(
        self, title: str, body: str, html: str | None, values: Mapping[str, Any]
    ) -> tuple[str, str, str | None]:
        """Title, plain text and HTML, of their templates.

        Raises:
            TemplateFailedError: a template cannot be rendered with these values or within its limits.
            RetryableError: the process cannot be started.
        """
        request = json.dumps({"title": title, "body": body, "html": html, "values": values}).encode()
        async with self._one_at_a_time:
            answer: dict[str, Any] | None = None
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    answer = await self._ask(request)
            except (TimeoutError, EOFError, ConnectionError, ValueError) as error:
                limits = f"{PROCESSOR_SECONDS:g} s of processor time, or its memory"
                raise TemplateFailedError(f"it took more than {limits}") from error
            finally:
                if answer is None:
                    await self._end()
        if "failed" in answer:
            raise TemplateFailedError(answer["failed"])
        return answer["title"], answer["body"], answer["html"]

    async def close(self) -> None:
        """End the process."""
        async with self._one_at_a_time:
            await self._end()

    async def _ask(self, request: bytes) -> dict[str, Any]:
        if self._process is not None and _has_ended(self._process):
            await self._end()
        process = self._process or await self._start()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process has no pipes")
        process.stdin.write(request + b"\n")
        await process.stdin.drain()
        line = await process.stdout.readuntil(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _start(self) -> Process:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            self._process = await asyncio.create_subprocess_exec(
                *python_command(_MODULE), stdin=PIPE, stdout=PIPE, env=environment, limit=_MAX_ANSWER_BYTES
            )
        except OSError as error:
            raise RetryableError(f"no process for templates: {error}") from error
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await to_its_end(process.communicate())


def _has_ended(process: Process) -> bool:
    """Whether it has ended since its last answer, for example because it was killed.

    Asks the kernel, because the event loop learns of it a moment later.
    """
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody already waited for it
        return True
