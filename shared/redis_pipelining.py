"""A Redis client that writes the commands of concurrent tasks together."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError


class _Call(NamedTuple):
    command: tuple[Any, ...]
    options: dict[str, Any]
    answer: asyncio.Future[Any]


class PipeliningRedis(Redis):
    """What tasks ask in one turn of the event loop, or while Redis still answers others, is one pipeline.

    A command costs a checkout of a connection, a write, a read and two turns of the loop; a pipeline costs them once.
    Each command has its own answer or error, as with any client; that Redis does not answer is an error of all that
    were sent together. It is not for commands that block, which would hold up all others.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting: list[_Call] = []
        self._asked: list[_Call] = []
        self._sending: asyncio.Task[None] | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its answer."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(args, options, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="commands for Redis")
        return await answer

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 - the client's own signature
        """Disconnect; who still waits for an answer gets an error."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait({self._sending})
            self._give_up()  # a task that is cancelled before its first turn does nothing itself
        await super().aclose(close_connection_pool)

    async def _send(self) -> None:
        try:
            while self._waiting:
                self._asked, self._waiting = [call for call in self._waiting if not call.answer.done()], []
                await self._answer(self._asked)
        finally:
            self._give_up()

    def _give_up(self) -> None:
        """Nobody sends: the next command starts anew. Calls without an answer, if there are any, get none."""
        self._sending = None
        for call in (*self._asked, *self._waiting):
            if not call.answer.done():
                call.answer.set_exception(RedisConnectionError("the client was closed"))
        self._asked, self._waiting = [], []

    async def _answer(self, calls: list[_Call]) -> None:
        try:
            if len(calls) == 1:  # a pipeline of one takes longer
                ask: Any = super().execute_command
                answers = [await ask(*calls[0].command, **calls[0].options)]
            else:
                answers = await self._pipelined(calls)
        except Exception as error:  # noqa: BLE001 - raised by each call
            answers = [error] * len(calls)
        for call, answer in zip(calls, answers, strict=True):
            if call.answer.done():  # its task was cancelled
                continue
            if isinstance(answer, Exception):
                call.answer.set_exception(answer)
            else:
                call.answer.set_result(answer)

    async def _pipelined(self, calls: list[_Call]) -> list[Any]:
        """The answer or error of each call; none if there are no calls."""
        pipeline: Any = self.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*call.command, **call.options)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers
