"""Mail and Slack: what a label can do to a message, who is talked to, and what is left of a send that breaks off."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import gc
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from email.header import decode_header, make_header
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.notifier.channels import email as email_channel
from services.notifier.channels import slack as slack_channel
from services.notifier.channels.email import EmailSender, Mailbox, TlsMode, mail_message
from services.notifier.channels.sender import Message, Never, NotNow, Sent
from services.notifier.channels.slack import SlackSender
from tests.integration.notifier.receivers import mail_receiver
from tests.integration.notifier.test_channels import ID, MESSAGE, certificate, mailer
from tests.waiting import wait_until

__all__ = ["certificate"]

HEADERS = ["Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "MIME-Version"]
HEADERS += ["Message-ID", "Subject", "To"]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def encoded_word(text: str, charset: str = "utf-8") -> str:
    """A text as RFC 2047 has it in headers."""
    return f"=?{charset}?b?{base64.b64encode(text.encode()).decode()}?="


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Job failed: claude", None),
        (f"Job of {encoded_word('x' + chr(13) + chr(10) + 'Reply-To: other@example.com')} failed", None),
        (encoded_word("Approve at https://example.com"), None),
        ("=?us-ascii?q?=0D=0ABcc:_other@example.com?=", None),
        ("Schlüssel für Ærøskøbing 🔑 " * 6 + "ok", None),
        ("x" * 200, None),
        ("word " * 39 + "word", None),
        ("क्\u200dष 👩\u200d🔧", None),
        ("a\r\nReply-To: other@example.com\r\n\r\nbody", "a Reply-To: other@example.com body"),
        ("a\u2028b\u2029c\x85d\x0be\x1cf", "a b c d e f"),
        ("a\x00b\x1b[31m", "a\ufffdb\ufffd[31m"),
    ],
)
def test_one_subject_that_shows_the_title_as_it_is(title: str, shown: str | None) -> None:
    """Whatever stands in a title, no header and no text comes of it, by old readers and new ones alike."""
    raw = mail_message(Message(ID, title, "The text.", None, None, "failure"), "mesh@example.com", ["a@example.com"])
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 78
    assert raw.count(b"\n") == raw.count(b"\r\n")
    old = email.message_from_bytes(raw)
    assert sorted(old.keys()) == HEADERS
    new = email.message_from_bytes(raw, policy=email.policy.default)
    assert str(make_header(decode_header(old["Subject"]))) == (shown or title)
    assert new["Subject"] == (shown or title)
    assert new.get_content().strip() == "The text."


async def test_a_label_adds_nothing_to_the_mail() -> None:
    """As it arrives at a server, through the whole of the channel."""
    title = f"Job of {encoded_word('x' + chr(13) + chr(10) * 2 + 'Approve at https://example.com')}"
    with mail_receiver() as mail:
        assert await mailer(mail).send(Message(ID, title, "ü\n.\nFrom here", None, None, "failure")) == Sent()
    (raw,) = mail.raw
    assert raw.count(b"Subject:") == 1
    assert b"Approve" not in raw
    ((_, made),) = mail.received
    assert made["Subject"] == title
    assert made.get_content().splitlines() == ["ü", ".", "From here"]


# The test's server leaves the socket of a handshake that the other side broke off.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("tls", ["tls", "starttls"])
async def test_the_certificate_is_of_the_mail_server(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tls: TlsMode
) -> None:
    """Mail goes, and a password is told, only to the name in the certificate; the right one is logged in."""
    trusting = ssl.create_default_context(cafile=certificate[0])
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*certificate)
    login = {"user": "u", "password": "pw"} if tls == "starttls" else {}
    with mail_receiver(serving, starttls=tls == "starttls") as mail:
        untrusted = await mailer(mail, tls=tls, host="localhost", **login).send(MESSAGE)
        assert isinstance(untrusted, NotNow)
        monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)
        other = await mailer(mail, tls=tls, host="127.0.0.1", **login).send(MESSAGE)
        assert isinstance(other, NotNow)
        assert (mail.received, mail.logged_in) == ([], [])
        assert await mailer(mail, tls=tls, host="localhost", **login).send(MESSAGE) == Sent()
        assert len(mail.received) == 1
        if login:
            wrong = await mailer(mail, tls=tls, host="localhost", user="u", password="no").send(MESSAGE)
            assert wrong == Never("the mail server said 535")
            assert len(mail.received) == 1
    gc.collect()


@asynccontextmanager
async def played(talk: Talk) -> AsyncIterator[int]:
    """A server that says what it is told to; its port."""
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


class SlowMailServer:
    """Takes `pause` seconds for each answer, or never says the last one; notes when the other side hung up."""

    def __init__(self, pause: float, *, answers_content: bool = True) -> None:
        self.pause = pause
        self.answers_content = answers_content
        self.told: list[bytes] = []
        self.delivered = 0
        self.hung_up = asyncio.Event()
        self.has_content = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One conversation."""
        in_data = False
        try:
            await self._say(writer, b"220 slow")
            while line := await reader.readline():
                self.told.append(line.strip())
                if in_data:
                    if line == b".\r\n":
                        self.has_content.set()
                        in_data = False
                        if not self.answers_content:
                            await reader.read()
                            break
                        await self._say(writer, b"250 taken")
                        self.delivered += 1
                    continue
                in_data = line.upper().startswith(b"DATA")
                await self._say(writer, b"354 go on" if in_data else b"250 ok")
        except ConnectionError:
            pass
        finally:
            self.hung_up.set()
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        await asyncio.sleep(self.pause)
        writer.write(line + b"\r\n")
        await writer.drain()


def sender_to(port: int, recipients: int = 1) -> EmailSender:
    """A sender without TLS."""
    addresses = tuple(f"{number}@example.com" for number in range(recipients))
    return EmailSender(Mailbox("127.0.0.1", port, "mesh@example.com", addresses, "none"))


async def test_a_mail_that_timed_out_is_not_delivered_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer comes in time, all together do not: it is broken off there, and nothing goes on beside the repeat.

    (Each recipient is answered for. They are many, so that an answer may come late on a busy machine.)
    """
    monkeypatch.setattr(email_channel, "SEND_SECONDS", 1.0)
    slow = SlowMailServer(pause=0.2)
    async with played(slow.talk) as port:
        before = asyncio.all_tasks()
        outcome = await sender_to(port, recipients=20).send(MESSAGE)
        assert outcome == NotNow("the mail server did not take it within 3 s")
        async with asyncio.timeout(60):
            await slow.hung_up.wait()
        await wait_until(lambda: not asyncio.all_tasks() - before, description="no task is left")
    assert slow.delivered == 0
    assert not any(line.upper().startswith(b"DATA") for line in slow.told)


async def test_a_mail_that_is_cancelled_hangs_up() -> None:
    """While it waits for the last answer: the connection ends at once, no task and no thread of it is left."""
    slow = SlowMailServer(pause=0.0, answers_content=False)
    async with played(slow.talk) as port:
        before, threads = asyncio.all_tasks(), threading.active_count()
        sending = asyncio.create_task(sender_to(port).send(MESSAGE))
        async with asyncio.timeout(60):
            await slow.has_content.wait()
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            assert sending.cancelled()
            await slow.hung_up.wait()
        await wait_until(lambda: not asyncio.all_tasks() - before, description="no task is left")
        assert threading.active_count() <= threads + 1  # the loop's resolver
    assert slow.delivered == 0


async def test_slack_that_is_too_slow_or_cancelled_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the request and never answers sees the end of the connection, both times."""
    monkeypatch.setattr(slack_channel, "SEND_SECONDS", 2.0)
    ends: list[bytes] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken = await reader.read()
        ends.append(taken)
        writer.close()

    async with played(silent) as port:
        before = asyncio.all_tasks()
        sender = SlackSender(SecretStr(f"http://127.0.0.1:{port}/services/T1/B1/x"))
        outcome = await sender.send(MESSAGE)
        assert isinstance(outcome, NotNow)
        await wait_until(lambda: len(ends) == 1, description="the end of the first connection")
        monkeypatch.setattr(slack_channel, "SEND_SECONDS", 60.0)
        sending = asyncio.create_task(sender.send(MESSAGE))
        await wait_until(lambda: len(asyncio.all_tasks() - before) > 1, description="the second connection")
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        await wait_until(lambda: len(ends) == 2, description="the end of the second connection")
        await wait_until(lambda: not asyncio.all_tasks() - before, description="no task is left")
    assert ends[0].startswith(b"POST /services/T1/B1/x")
