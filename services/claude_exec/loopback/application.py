"""What the endpoint answers over HTTP."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.claude_exec.loopback.api_error import AnswerError
from services.claude_exec.loopback.journal import Journal
from services.claude_exec.loopback.messages_endpoint import MessagesEndpoint, request_id
from services.claude_exec.loopback.plan import Countdown
from services.claude_exec.loopback.script import Script


def loopback_application(script: Script, stopping: asyncio.Event, *, host: str) -> Starlette:
    """The application at `host`; it ends its waits once `stopping` is set."""
    journal, countdown = Journal(), Countdown()
    messages = MessagesEndpoint(script, journal, countdown, stopping)

    async def health(_: Request) -> Response:
        return JSONResponse({"ok": True, "requests": journal.total})

    async def show_requests(_: Request) -> Response:
        return JSONResponse(journal.shown())

    async def forget_requests(_: Request) -> Response:
        journal.clear()
        countdown.clear()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def greet(_: Request) -> Response:
        return JSONResponse({"service": "loopback stand-in for the Anthropic Messages API"})

    async def unknown(request: Request) -> Response:
        entry = journal.begin(request.method, request.url.path)
        error = AnswerError(HTTPStatus.NOT_FOUND, "Not found")
        entry.ended, entry.status, entry.outcome = entry.began, error.status, "refused"
        return JSONResponse(error.body(request_id(entry)), error.status)

    return Starlette(
        routes=[
            Route("/v1/messages", messages, methods=["POST"]),
            Route("/v1/messages/count_tokens", messages, methods=["POST"]),
            Route("/healthz", health, methods=["GET"]),
            Route("/_loopback/requests", show_requests, methods=["GET"]),
            Route("/_loopback/requests", forget_requests, methods=["DELETE"]),
            Route("/", greet, methods=["GET"]),
            Route("/{path:path}", unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ],
        # A page in a browser must not ask here under a name of its own that it has made to mean this machine.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[host, "localhost"])],
    )
