"""`POST /v1/messages`: read the request, look up what its prompt asks for, answer that."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from services.claude_exec.loopback.api_error import AnswerError, InvalidRequestError
from services.claude_exec.loopback.bodies import Bodies
from services.claude_exec.loopback.conversation import Conversation, read_conversation
from services.claude_exec.loopback.exchange import EndedError, Exchange
from services.claude_exec.loopback.journal import Entry, Journal, excerpt
from services.claude_exec.loopback.markers import MarkerError
from services.claude_exec.loopback.plan import Countdown, Plan, make_plan, tokens
from services.claude_exec.loopback.script import Script
from shared.logs.setup import get_logger

_log = get_logger(__name__)


class MessagesEndpoint:
    """The two paths that take a conversation, as an ASGI application.

    Args:
        script: answers to prompts without markers.
        journal: gets every request.
        countdown: of the steps with `times`.
        stopping: set when the endpoint stops.
    """

    def __init__(self, script: Script, journal: Journal, countdown: Countdown, stopping: asyncio.Event) -> None:
        self._script, self._journal, self._countdown, self._stopping = script, journal, countdown, stopping
        self._bodies = Bodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        entry = self._journal.begin(request.method, request.url.path)
        entry.traceparent = excerpt(request.headers.get("traceparent"))
        entry.session_id = excerpt(request.headers.get("x-claude-code-session-id"))
        entry.user_agent = excerpt(request.headers.get("user-agent"))
        outcome = "stopped"  # what a cancellation means
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
            return await self._bodies.read(request, read_conversation)
        except AnswerError as error:
            return error

    async def _answer(self, exchange: Exchange, entry: Entry, asked: Conversation | AnswerError) -> str:
        """Answer; the journal's word for how that ended."""
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


def request_id(entry: Entry) -> str:
    """What the answer's header `request-id` says."""
    return f"req_loopback_{entry.number}"


def _describe(entry: Entry, conversation: Conversation) -> None:
    entry.model, entry.streamed = excerpt(conversation.model), conversation.streamed
    entry.prompt, entry.prompt_characters = excerpt(conversation.prompt), len(conversation.prompt)
    entry.turn, entry.tool_result = conversation.turn, excerpt(conversation.tool_result)
