"""The channel `email`: apprise makes the message, and this sends it by SMTP, under a fixed Message-ID."""

from __future__ import annotations

import asyncio
import email
import email.policy
import smtplib
import ssl
from dataclasses import dataclass, field
from typing import Literal

import apprise
from apprise.plugins.email import NotifyEmail
from pydantic import SecretStr

from services.notifier.channels.sender import SEND_SECONDS, Message, Never, NotNow, SendOutcome, Sent

TlsMode = Literal["starttls", "tls", "none"]
_FIRST_PERMANENT = 500


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An SMTP server, and from whom to whom. The first recipient stands in `To`, the others in `Cc`."""

    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    tls: TlsMode
    user: str | None = None
    password: SecretStr | None = field(default=None, repr=False)


class EmailSender:
    """Sends one message in one transaction.

    Args:
        mailbox: where to.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def send(self, message: Message) -> SendOutcome:
        """Send it. Each step of the conversation has `SEND_SECONDS`, all of it three times that."""
        try:
            async with asyncio.timeout(3 * SEND_SECONDS):
                return await asyncio.to_thread(self._send, message)
        except TimeoutError:
            return NotNow(f"the mail server did not take it within {3 * SEND_SECONDS:g} s")

    def _send(self, message: Message) -> SendOutcome:
        box = self._mailbox
        try:
            with self._connected() as server:
                refused = server.sendmail(box.sender, list(box.recipients), self.composed(message))
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return _outcome(min(codes, default=_FIRST_PERMANENT), "the mail server refused all recipients")
        except smtplib.SMTPResponseException as error:
            return _outcome(error.smtp_code, f"the mail server said {error.smtp_code}")
        except smtplib.SMTPNotSupportedError:
            return Never("the mail server does not offer what the rules file asks for (tls, user)")
        except (smtplib.SMTPException, OSError) as error:
            return NotNow(f"the mail server could not be talked to: {type(error).__name__}")
        return Sent(f"refused: {len(refused)} of {len(box.recipients)} recipients" if refused else None)

    def composed(self, message: Message) -> bytes:
        """The message as it is sent."""
        box = self._mailbox
        (prepared,) = NotifyEmail.prepare_emails(
            subject=message.title,
            body=message.body if message.html is None else message.html,
            notify_format=apprise.NotifyFormat.TEXT if message.html is None else apprise.NotifyFormat.HTML,
            from_addr=("", box.sender),
            to=[("", box.recipients[0])],
            cc=set(box.recipients[1:]),
            smtp_host=box.host,
            headers={"Auto-Submitted": "auto-generated"},
        )
        made = email.message_from_string(prepared.body, policy=email.policy.SMTP)
        del made["Message-ID"]
        # The same in every repeat, so that mail servers and clients can tell one.
        made["Message-ID"] = f"<{message.message_id}@eldermesh>"
        return made.as_bytes()

    def _connected(self) -> smtplib.SMTP:
        box = self._mailbox
        context = ssl.create_default_context()
        server = (
            smtplib.SMTP_SSL(box.host, box.port, timeout=SEND_SECONDS, context=context)
            if box.tls == "tls"
            else smtplib.SMTP(box.host, box.port, timeout=SEND_SECONDS)
        )
        try:
            if box.tls == "starttls":
                server.starttls(context=context)
            if box.user is not None and box.password is not None:
                server.login(box.user, box.password.get_secret_value())
        except BaseException:
            server.close()
            raise
        return server


def _outcome(code: int, reason: str) -> SendOutcome:
    return Never(reason) if code >= _FIRST_PERMANENT else NotNow(reason)
