"""The channel `email`: one message in one transaction of SMTP, under a fixed Message-ID."""

from __future__ import annotations

import asyncio
import email.policy
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.charset import QP, Charset
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formatdate
from ipaddress import IPv6Address, ip_address
from typing import Literal

import aiosmtplib
from pydantic import SecretStr

from services.notifier.channels.sender import SEND_SECONDS, Message, Never, NotNow, SendOutcome, Sent, one_line

TlsMode = Literal["starttls", "tls", "none"]
_FIRST_PERMANENT = 500

_LONGEST_PLAIN_SUBJECT = 66
"""Fits on one line of 76 characters; a longer subject is written as encoded words, which may be folded."""

_TEXT = Charset("utf-8")
_TEXT.body_encoding = QP


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
    """Sends one message in one transaction. Cancelling a send closes the connection at once.

    Args:
        mailbox: where to.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._tls = ssl.create_default_context()

    async def send(self, message: Message) -> SendOutcome:
        """Send it. Each step may take `SEND_SECONDS`, all together three times that."""
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
        """Send, and return how many recipients the server refused."""
        box = self._mailbox
        client = aiosmtplib.SMTP(
            hostname=box.host,
            port=box.port,
            timeout=SEND_SECONDS,
            # Without it the library resolves this machine's name in a thread that cannot be cancelled.
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
    """The name for EHLO: the full host name, else the address of this end of the connection."""
    name = socket.gethostname()
    where = client.get_transport_info("sockname")
    if "." in name or not where:
        return name
    address = ip_address(str(where[0]).partition("%")[0])
    return f"[IPv6:{address}]" if isinstance(address, IPv6Address) else f"[{address}]"


def _hang_up(client: aiosmtplib.SMTP, *, politely: bool) -> None:
    """Close the connection, without waiting for the answer to QUIT."""
    transport = client.transport
    if isinstance(transport, asyncio.Transport):
        if politely and not transport.is_closing():
            transport.write(b"QUIT\r\n")
        else:
            transport.abort()
    client.close()


def _outcome(code: int, reason: str) -> SendOutcome:
    return Never(reason) if code >= _FIRST_PERMANENT else NotNow(reason)


def mail_message(message: Message, sender: str, recipients: Sequence[str]) -> bytes:
    """The mail as bytes with CRLF (RFC 5322). Pure, except for its date.

    It uses the policy `compat32`: newer policies decode encoded words (RFC 2047) in header values, and line breaks
    in them.

    Args:
        message: if it has `html`, the mail has two alternatives.
        sender: an address.
        recipients: addresses: the first in `To`, the others in `Cc`.
    """
    made: MIMEMultipart | MIMEText
    if message.html is None:
        made = _part(message.body, "plain")
    else:
        made = MIMEMultipart("alternative", _subparts=[_part(message.body, "plain"), _part(message.html, "html")])
    made["Subject"] = _subject(message.title)
    made["From"] = sender
    made["To"] = recipients[0]
    if len(recipients) > 1:
        made["Cc"] = ", ".join(recipients[1:])
    made["Date"] = formatdate()
    # The same in every retry, so that mail servers and clients recognise a duplicate.
    made["Message-ID"] = f"<{message.message_id}@eldermesh>"
    made["Auto-Submitted"] = "auto-generated"
    return made.as_bytes(policy=email.policy.compat32.clone(linesep="\r\n"))


def _part(text: str, kind: str) -> MIMEText:
    return MIMEText(text.encode("utf-8", "replace").decode(), kind, _TEXT)  # type: ignore[arg-type]  # takes a Charset


def _subject(title: str) -> str:
    """The title on one line; as encoded words unless it is short ASCII without `=?`."""
    line = one_line(title)
    if line.isascii() and "=?" not in line and len(line) <= _LONGEST_PLAIN_SUBJECT:
        return line
    return Header(line, "utf-8", header_name="Subject").encode()
