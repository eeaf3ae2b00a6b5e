"""Real servers on the loopback interface that receive messages: HTTP for webhooks and Slack, SMTP for e-mail."""

from __future__ import annotations

import email
import email.policy
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class HttpReceiver:
    """Keeps what is posted; answers as told, one answer a request, and then with 200."""

    server: HTTPServer
    received: list[Received] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)

    def url(self, path: str = "/hook") -> str:
        """An address of it."""
        return self.server.url_for(path)

    def answer(self, request: Request) -> Response:
        """Take a request."""
        self.received.append(Received(request.path, dict(request.headers), request.get_data()))
        return self.answers.pop(0) if self.answers else Response("ok", 200)


@contextmanager
def http_receiver(tls: ssl.SSLContext | None = None) -> Iterator[HttpReceiver]:
    """A threaded HTTP server that takes everything."""
    with HTTPServer(host="127.0.0.1", threaded=True, ssl_context=tls) as server:
        receiver = HttpReceiver(server)
        server.expect_request(re.compile(".*")).respond_with_handler(receiver.answer)
        yield receiver


@dataclass(slots=True)
class MailReceiver:
    """Keeps what is mailed; answers as told, one answer a message, and then accepts."""

    port: int
    received: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    raw: list[bytes] = field(default_factory=list)
    logged_in: list[bytes] = field(default_factory=list)

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        """Take the password `pw` alone."""
        self.logged_in.append(data.login)
        return AuthResult(success=data.password == b"pw", handled=False)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Take or refuse a recipient."""
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a message."""
        if self.answers:
            return self.answers.pop(0)
        self.raw.append(envelope.content)
        made = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.received.append((list(envelope.rcpt_tos), made))
        return "250 OK"


@contextmanager
def mail_receiver(tls: ssl.SSLContext | None = None, *, starttls: bool = False) -> Iterator[MailReceiver]:
    """An SMTP server in a thread of its own; with a context it wants TLS from the start, or STARTTLS and a login."""
    # Its controller has to know the port beforehand.
    with socket.create_server(("127.0.0.1", 0)) as free:
        receiver = MailReceiver(free.getsockname()[1])
    options: dict[str, Any] = {"ssl_context": tls}
    if starttls:
        options = {"tls_context": tls, "require_starttls": True, "auth_required": True}
        options["authenticator"] = receiver.authenticate
    controller = Controller(receiver, hostname="127.0.0.1", port=receiver.port, **options)
    controller.start()
    try:
        yield receiver
    finally:
        controller.stop()
