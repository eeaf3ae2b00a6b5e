"""`POST /v1/messages`: read the request, look up the answer to its prompt, send it."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from services.claude_exec.loopback.api_error import AnswerError, InvalidRequestError
from services.claude_exec.loopback.conversation import Conversation, read_conversation
from services.claude_exec.loopback.exchange import EndedError, Exchange
from services.claude_exec.loopback.journal import Entry, Journal, excerpt
from services.claude_exec.loopback.markers import MarkerError
from services.claude_exec.loopback.plan import Countdown, Plan, make_plan, tokens
from services.claude_exec.loopback.script import Script
from shared.logs.setup import get_logger

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The API's own limit of a request."""
MAX_BODIES = 4
"""Bodies in memory at once; the other requests wait unread."""
BODY_SECONDS = 10.0

_log = get_logger(__name__)


class MessagesEndpoint:
    """An ASGI application for the two paths that take a conversation.

    Args:
        script: answers to prompts without markers.
        journal: gets every request.
        countdown: counts the steps with `times`.
        stopping: set when the endpoint stops.
    """

    def __init__(self, script: Script, journal: Journal, countdown: Countdown, stopping: asyncio.Event) -> None:
        self._script, self._journal, self._countdown, self._stopping = script, journal, countdown, stopping
        self._bodies = asyncio.Semaphore(MAX_BODIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        entry = self._journal.begin(request.method, request.url.path)
        entry.traceparent = excerpt(request.headers.get("traceparent"))
        entry.session_id = excerpt(request.headers.get("x-claude-code-session-id"))
        entry.user_agent = excerpt(request.headers.get("user-agent"))
        outcome = "stopped"  # also when this is cancelled
        try:
            asked = await self._read(request)
            async with Exchange(scope, receive, send, self._stopping, request_id(entry)) as exchange:
                outcome = await self._answer(exchange, entry, asked)
        except EndedError as error:
            outcome = error.outcome
        except ClientDisconnect:
            outcome = "gone"
        finally:
            self._close(entry, outcome)

    async def _read(self, request: Request) -> Conversation | AnswerError:
        if not (request.headers.get("x-api-key") or request.headers.get("authorization")):
            return AnswerError(HTTPStatus.UNAUTHORIZED)
        try:
            async with self._bodies:
                return read_conversation(await _body(request))
        except AnswerError as error:
            return error

    async def _answer(self, exchange: Exchange, entry: Entry, asked: Conversation | AnswerError) -> str:
        """Answer, and return the outcome for the journal."""
        try:
            if isinstance(asked, AnswerError):
                raise asked
            _describe(entry, asked)
            if entry.path.endswith("/count_tokens"):
                entry.status = HTTPStatus.OK
                await exchange.answer(HTTPStatus.OK, {"input_tokens": tokens(asked.characters)})
                return "answered"
            plan = self._plan(asked)
            await exchange.wait(plan.wait_seconds)
            if plan.refusal is not None:
                raise plan.refusal
            entry.status = HTTPStatus.OK
            await exchange.say(plan.message, streamed=asked.streamed, broken=plan.broken)
            return "answered"
        except AnswerError as error:
            entry.status = error.status
            await exchange.answer(error.status, error.body(request_id(entry)), error.headers)
            return "refused"

    def _plan(self, conversation: Conversation) -> Plan:
        try:
            return make_plan(conversation, self._script.steps(conversation.prompt), self._countdown)
        except MarkerError as error:
            raise InvalidRequestError(str(error)) from error

    def _close(self, entry: Entry, outcome: str) -> None:
        entry.ended, entry.outcome = time.time(), outcome
        _log.debug(
            "request ended",
            number=entry.number,
            outcome=outcome,
            status=entry.status,
            model=entry.model,
            prompt_characters=entry.prompt_characters,
            turn=entry.turn,
            seconds=round(entry.ended - entry.began, 3),
        )


async def _body(request: Request) -> bytes:
    """The request's body.

    Raises:
        AnswerError: it is too long, or does not come in time.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    raise AnswerError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request exceeds the maximum size")
    except TimeoutError as error:
        raise AnswerError(HTTPStatus.REQUEST_TIMEOUT, "The request's body did not come in time.") from error
    return bytes(body)


def request_id(entry: Entry) -> str:
    """The value of the answer's header `request-id`."""
    return f"req_loopback_{entry.number}"


def _describe(entry: Entry, conversation: Conversation) -> None:
    entry.model, entry.streamed = excerpt(conversation.model), conversation.streamed
    entry.prompt, entry.prompt_characters = excerpt(conversation.prompt), len(conversation.prompt)
    entry.turn, entry.tool_result = conversation.turn, excerpt(conversation.tool_result)
