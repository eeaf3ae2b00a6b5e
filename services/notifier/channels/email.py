"""The channel `email`: one message in one transaction of SMTP, under a fixed Message-ID."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Literal

import aiosmtplib
from pydantic import SecretStr

from services.notifier.channels.mail_message import mail_message
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
    """Sends one message in one transaction. Cancelled, it hangs up at once: nothing goes on without it.

    Args:
        mailbox: where to.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._tls = ssl.create_default_context()

    async def send(self, message: Message) -> SendOutcome:
        """Send it. Each step of the conversation has `SEND_SECONDS`, all of it three times that."""
        try:
            async with asyncio.timeout(3 * SEND_SECONDS):
                return await self._send(message)
        except TimeoutError:
            return NotNow(f"the mail server did not take it within {3 * SEND_SECONDS:g} s")

    async def _send(self, message: Message) -> SendOutcome:
        box = self._mailbox
        try:
            refused = await self._talk(message)
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [each.code for each in error.recipients]
            return _outcome(min(codes, default=_FIRST_PERMANENT), "the mail server refused all recipients")
        except aiosmtplib.SMTPResponseException as error:
            return _outcome(error.code, f"the mail server said {error.code}")
        except aiosmtplib.SMTPNotSupported:
            return Never("the mail server does not offer what the rules file asks for (tls, user)")
        except (aiosmtplib.SMTPException, OSError) as error:
            return NotNow(f"the mail server could not be talked to: {type(error.__cause__ or error).__name__}")
        return Sent(f"refused: {refused} of {len(box.recipients)} recipients" if refused else None)

    async def _talk(self, message: Message) -> int:
        """How many recipients were refused, of a message that was taken."""
        box = self._mailbox
        client = aiosmtplib.SMTP(
            hostname=box.host,
            port=box.port,
            timeout=SEND_SECONDS,
            # Else it asks the resolver for this machine's name, in a thread that cannot be cancelled.
            local_hostname=socket.gethostname(),
            use_tls=box.tls == "tls",
            start_tls=False,
            tls_context=self._tls,
        )
        was_taken = False
        try:
            await client.connect()
            client.local_hostname = _own_name(client)
            if box.tls == "starttls":
                await _offering(client, "starttls")
                await client.starttls(tls_context=self._tls)
            if box.user is not None and box.password is not None:
                await _offering(client, "auth")
                await client.login(box.user, box.password.get_secret_value())
            refused, _ = await client.sendmail(
                box.sender, list(box.recipients), mail_message(message, box.sender, box.recipients)
            )
            was_taken = True
        finally:
            _hang_up(client, politely=was_taken)
        return len(refused)


async def _offering(client: aiosmtplib.SMTP, extension: str) -> None:
    if client.is_ehlo_or_helo_needed:
        await client.ehlo()
    if not client.supports_extension(extension):
        raise aiosmtplib.SMTPNotSupported(extension)


def _own_name(client: aiosmtplib.SMTP) -> str:
    """What this machine calls itself: its whole name, else the address that the server sees."""
    name = socket.gethostname()
    where = client.get_transport_info("sockname")
    if "." in name or not where:
        return name
    address = ip_address(str(where[0]).partition("%")[0])
    return f"[IPv6:{address}]" if isinstance(address, IPv6Address) else f"[{address}]"


def _hang_up(client: aiosmtplib.SMTP, *, politely: bool) -> None:
    """Leave no connection. After a message that was taken nobody waits for the server's goodbye."""
    transport = client.transport
    if isinstance(transport, asyncio.Transport):
        if politely and not transport.is_closing():
            transport.write(b"QUIT\r\n")
        else:
            transport.abort()
    client.close()


def _outcome(code: int, reason: str) -> SendOutcome:
    return Never(reason) if code >= _FIRST_PERMANENT else NotNow(reason)
