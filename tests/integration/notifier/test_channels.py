"""Each channel against a real local server: content, what its answers come to, and what is refused."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError
from werkzeug import Response

from services.notifier.channels import addresses, email, webhook
from services.notifier.channels.addresses import RefusedAddressError, is_public, resolved
from services.notifier.channels.console import ConsoleSender
from services.notifier.channels.email import EmailSender, Mailbox, TlsMode
from services.notifier.channels.sender import Message, Never, NotNow, Sent, outcome_of, retry_after_ms
from services.notifier.channels.slack import SlackSender
from services.notifier.channels.webhook import WebhookSender
from services.notifier.notifications.run import LONGEST_MS, pause_ms
from tests.integration.notifier.receivers import SECRET, HttpReceiver, MailReceiver, http_receiver, mail_receiver

ID = "11111111-2222-5333-8444-555555555555"
MESSAGE = Message(ID, "Job failed: claude", "It failed.\nLook: mesh why", None, '{"type":"x","n":1}', "failure")
SLACK = SecretStr("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
NOW_MS = 1_795_490_799_000


@pytest.fixture(scope="module")
def server() -> Iterator[HttpReceiver]:
    """An HTTP server: to stop one takes half a second."""
    with http_receiver() as server:
        yield server


@pytest.fixture
def receiver(server: HttpReceiver) -> HttpReceiver:
    """The server, as new."""
    server.received.clear()
    server.answers.clear()
    return server


@pytest.fixture
def mail() -> Iterator[MailReceiver]:
    """An SMTP server."""
    with mail_receiver() as server:
        yield server


def hook(url: str, *, allow_private: bool = True) -> WebhookSender:
    """A webhook's sender."""
    return WebhookSender(SecretStr(url), SecretStr(SECRET), allow_private=allow_private)


def mailer(mail: MailReceiver, *recipients: str, tls: TlsMode = "none", **login: str) -> EmailSender:
    """An e-mail's sender."""
    password = SecretStr(login["password"]) if "password" in login else None
    host = login.get("host", "127.0.0.1")
    to = recipients or ("a@example.com",)
    box = Mailbox(host, mail.port, "mesh@example.com", to, tls, login.get("user"), password)
    return EmailSender(box)


async def test_webhook_is_signed(receiver: HttpReceiver) -> None:
    """The library of Standard Webhooks verifies it; a repeat has the same id and body."""
    for _ in range(2):
        assert await hook(receiver.url()).send(MESSAGE) == Sent("HTTP 200")
    for received in receiver.received:
        assert Webhook(SECRET).verify(received.body, received.headers) == {"type": "x", "n": 1}
        assert received.headers["Webhook-Id"] == ID
        assert received.headers["Content-Type"] == "application/json"
        assert received.headers["Host"] == f"127.0.0.1:{receiver.server.port}"
    assert SECRET not in repr(hook(receiver.url()))


class _VectorClock:
    """The time of the vector of Standard Webhooks."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return 1_614_265_330_000

    def monotonic(self) -> float:
        """Not used here."""
        return 0.0

    def suspended_seconds(self) -> float:
        """Not used here."""
        return 0.0


async def test_the_vector_of_standard_webhooks(receiver: HttpReceiver) -> None:
    """Its id, time, secret and body give its signature, in what is posted; one changed byte does not verify."""
    message = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", "t", "b", None, '{"test": 2432232314}', "info")
    secret = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    sender = WebhookSender(SecretStr(receiver.url()), secret, allow_private=True, clock=_VectorClock())
    assert await sender.send(message) == Sent("HTTP 200")
    (received,) = receiver.received
    assert received.body == b'{"test": 2432232314}'
    assert received.headers["Webhook-Id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert received.headers["Webhook-Timestamp"] == "1614265330"
    assert received.headers["Webhook-Signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    with pytest.raises(WebhookVerificationError):  # the receiver's own clock: it is too old
        Webhook(secret.get_secret_value()).verify(received.body, received.headers)
    receiver.received.clear()
    assert await hook(receiver.url()).send(message) == Sent("HTTP 200")
    (received,) = receiver.received
    assert Webhook(SECRET).verify(received.body, received.headers) == {"test": 2432232314}
    for body, headers in [
        (received.body + b" ", received.headers),
        (received.body, received.headers | {"Webhook-Id": "msg_other"}),
    ]:
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, headers)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Response(status=204), Sent("HTTP 204")),
        (Response(status=429, headers={"Retry-After": "7"}), NotNow("HTTP 429", 7000)),
        (Response(status=503, headers={"Retry-After": "nonsense"}), NotNow("HTTP 503")),
        (Response(status=408), NotNow("HTTP 408")),
        (Response(status=410), Never("HTTP 410")),
        (Response("x" * 5_000_000, status=500), NotNow("HTTP 500")),
    ],
    ids=lambda each: str(getattr(each, "status_code", "")),
)
async def test_webhook_answers(receiver: HttpReceiver, answer: Response, outcome: object) -> None:
    """What an answer means; a body, however large, is not read."""
    receiver.answers.append(answer)
    assert await hook(receiver.url()).send(MESSAGE) == outcome


async def test_a_redirect_is_not_followed(receiver: HttpReceiver) -> None:
    """Nothing is asked of the place that it names."""
    receiver.answers.append(Response(status=307, headers={"Location": receiver.url("/other")}))
    outcome = await hook(receiver.url()).send(MESSAGE)
    assert isinstance(outcome, Never)
    assert "redirects are not followed" in outcome.reason
    assert [each.path for each in receiver.received] == ["/hook"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]"]
)
async def test_private_addresses_are_refused(receiver: HttpReceiver, host: str) -> None:
    """By address and by name, before anything is connected."""
    outcome = await hook(f"https://{host}:{receiver.server.port}/hook", allow_private=False).send(MESSAGE)
    assert isinstance(outcome, Never)
    assert "not a public address" in outcome.reason
    plain = await hook(f"http://{host}:{receiver.server.port}/hook", allow_private=False).send(MESSAGE)
    assert isinstance(plain, Never)
    assert receiver.received == []


async def test_the_checked_address_is_connected(receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is resolved once; the request goes to that address, under the name."""
    asked: list[str] = []

    async def once(host: str, port: int, *, allow_private: bool) -> list[str]:
        asked.append(host)
        return ["127.0.0.2", "127.0.0.1"] if allow_private else []

    monkeypatch.setattr(webhook, "resolved", once)
    sender = hook(f"http://rebinding.invalid:{receiver.server.port}/hook")
    assert await sender.send(MESSAGE) == Sent("HTTP 200")
    assert asked == ["rebinding.invalid"]
    assert receiver.received[0].headers["Host"] == f"rebinding.invalid:{receiver.server.port}"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of `hooks.test`, and its key."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-days", "2", "-subj", "/CN=hooks.test", "-addext", "subjectAltName=DNS:hooks.test,DNS:localhost"]
    made += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True, timeout=30)
    return certificate, key


async def test_the_certificate_is_of_the_name(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS the address is connected, and the certificate checked for the name: another name is refused."""
    trusting = ssl.create_default_context(cafile=certificate[0])
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)

    async def here(*_: object, **__: object) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(webhook, "resolved", here)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*certificate)
    with http_receiver(serving) as receiver:
        port = receiver.server.port
        assert await hook(f"https://hooks.test:{port}/hook", allow_private=False).send(MESSAGE) == Sent("HTTP 200")
        refused = await hook(f"https://other.test:{port}/hook", allow_private=False).send(MESSAGE)
        assert isinstance(refused, NotNow)
        assert "certificate" in refused.reason.lower()
        assert len(receiver.received) == 1


async def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that does not answer is for later, and so is a name without any address; no name is for good."""
    assert isinstance(await hook(f"https://{'a' * 64}.test/").send(MESSAGE), Never)

    async def unknown(*_: object, **__: object) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    async def nothing(*_: object, **__: object) -> list[str]:
        return []

    monkeypatch.setattr(webhook, "resolved", unknown)
    outcome = await hook("https://hooks.test/").send(MESSAGE)
    assert outcome == NotNow("the host's name could not be resolved: Name or service not known")
    monkeypatch.setattr(webhook, "resolved", nothing)
    assert await hook("https://hooks.test/").send(MESSAGE) == NotNow("the host has no address")


async def test_webhook_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens, nobody answers in time, no such name, something else than HTTP: later, not never."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(webhook, "SEND_SECONDS", 0.2)
        assert isinstance(await hook(f"http://127.0.0.1:{silent.getsockname()[1]}/").send(MESSAGE), NotNow)
        port = silent.getsockname()[1]
    monkeypatch.setattr(webhook, "SEND_SECONDS", 5.0)
    refused = await hook(f"http://127.0.0.1:{port}/").send(MESSAGE)
    assert isinstance(refused, NotNow)
    assert refused.reason.startswith("the host cannot be connected to: ")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"hello\r\n\r\n")

        talking = threading.Thread(target=talk)
        talking.start()
        outcome = await hook(f"http://127.0.0.1:{server.getsockname()[1]}/").send(MESSAGE)
        talking.join(5)
    assert isinstance(outcome, NotNow)
    assert outcome.reason.startswith("no answer: ")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("0.0.0.1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
        ("2002:5db8:d822::", False),
        ("2001:0:4136:e378:8000:63bf:a247:28dd", False),
        ("64:ff9b:1::7f00:1", False),
        ("64:ff9b:1::5db8:d822", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("::127.0.0.1", False),
        ("::93.184.216.34", False),
        ("::ffff:0:127.0.0.1", False),
        ("::ffff:0:93.184.216.34", False),
        ("::", False),
        ("::1", False),
        ("fec0::1", False),
        ("100::1", False),
        ("5f00::1", False),
        ("2001:db8::1", False),
        ("2001:2::1", False),
        ("2001:10::1", False),
        ("2001:20::1", False),
        ("2001:30::1", False),
        ("3fff::1", False),
        ("3ffe::1", False),
        ("4000::1", False),
        ("2001:4860:4860::8888", True),
        ("2606:2800:220:1::1%eth0", False),
        ("0.0.0.0", False),  # noqa: S104 - is refused
        ("169.254.169.254", False),
        ("172.31.255.255", False),
        ("172.32.0.1", True),
        ("192.0.0.9", False),
        ("192.0.2.1", False),
        ("192.88.99.1", False),
        ("198.19.255.255", False),
        ("198.51.100.1", False),
        ("203.0.113.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("8.8.8.8", True),
        ("0177.0.0.1", False),
        ("127.1", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Also where an IPv4 address is inside an IPv6 one."""
    assert is_public(address) is public


@pytest.mark.parametrize(
    "host",
    ["0x7f.1", "127.1", "2130706433", "127.0.0.1.", "localhost.", "[::127.0.0.1]", "[::ffff:0:7f00:1]"],
)
async def test_no_spelling_of_a_private_address_is_reached(receiver: HttpReceiver, host: str) -> None:
    """Hexadecimal, short and whole numbers, dots at the end: what the resolver makes of it is judged."""
    outcome = await hook(f"https://{host}:{receiver.server.port}/", allow_private=False).send(MESSAGE)
    assert isinstance(outcome, Never | NotNow)
    assert "is not a public address" in outcome.reason or "could not be resolved" in outcome.reason
    assert receiver.received == []


@pytest.mark.parametrize("host", ["faß.example", "xn--fa-hia.example"])
async def test_the_name_that_is_resolved_is_the_one_in_the_header(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """As it stands in the address: the interpreter's older rules would ask for `fass.example`, which is another's."""
    seen: list[object] = []

    async def nobody(name: object, *_: object, **__: object) -> list[object]:
        seen.append(name)
        raise OSError(2, "no such name")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nobody)
    assert isinstance(await hook(f"https://{host}/", allow_private=False).send(MESSAGE), NotNow)
    assert seen == ["xn--fa-hia.example"]


async def test_one_private_address_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a public and a private address is refused."""

    async def both(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("93.184.216.34", 443)), (0, 0, 0, "", ("10.0.0.1", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    with pytest.raises(RefusedAddressError):
        await addresses.resolved("h", 443, allow_private=False)
    assert await resolved("h", 443, allow_private=True) == ["93.184.216.34", "10.0.0.1"]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        (None, None),
        ("120", 120_000),
        ("-1", None),
        ("soon", None),
        ("Tue, 24 Nov 2026 03:26:49 GMT", 10_000),
        ("Tue, 24 Nov 2026 03:26:49 -0000", 10_000),
        ("Tue, 24 Nov 2026 03:26:29 GMT", 0),
        ("9" * 30, 366 * 86_400_000),
        ("Tue, 24 Nov 9998 03:26:29 GMT", 366 * 86_400_000),
        ("Tue, 24 Nov 0001 03:26:29 GMT", 0),
        ("Tue, 24 Nov 99999 03:26:29 GMT", None),
        ("Tue, 24 Nov 2026 03:26:29 +99999999", None),
        ("", None),
        (",", None),
    ],
)
def test_retry_after(text: str | None, milliseconds: int | None) -> None:
    """Seconds and dates; what is neither is as if absent."""
    assert retry_after_ms(text, NOW_MS) == milliseconds
    assert outcome_of(429, text, NOW_MS) == NotNow("HTTP 429", milliseconds)


def test_back_off() -> None:
    """Doubled each time up to an hour, anywhere between nothing and that, and never before what was asked for."""
    assert [pause_ms(n, first_ms=5000, asked_ms=None, chance=1.0) for n in (1, 2, 3)] == [5000, 10_000, 20_000]
    assert pause_ms(99, first_ms=5000, asked_ms=None, chance=1.0) == LONGEST_MS
    assert pause_ms(1, first_ms=5000, asked_ms=None, chance=0.0) == 0
    assert pause_ms(1, first_ms=5000, asked_ms=7000, chance=0.5) == 9500


async def test_slack(receiver: HttpReceiver) -> None:
    """What a job brings along cannot page a channel; 429 says when; 404 is for good; a dead server is not."""
    sender = SlackSender(SecretStr(receiver.url("/services/T1/B1/x")))
    message = Message(ID, "Job failed: <!here>", "Reason: <!channel> & <https://x.example|more>", None, None, "failure")
    assert await sender.send(message) == Sent("HTTP 200")
    (received,) = receiver.received
    assert received.path == "/services/T1/B1/x"
    assert received.headers["Content-Type"] == "application/json"
    payload = json.loads(received.body)
    (attachment,) = payload["attachments"]
    assert attachment["title"] == attachment["fallback"] == "Job failed: &lt;!here&gt;"
    assert attachment["text"] == "Reason: &lt;!channel&gt; &amp; &lt;https://x.example|more&gt;"
    assert (payload["mrkdwn"], payload["link_names"], attachment["mrkdwn_in"]) == (False, False, [])
    receiver.answers += [Response(status=429, headers={"Retry-After": "30"}), Response(status=404)]
    assert await sender.send(message) == NotNow("HTTP 429", 30_000)
    assert await sender.send(message) == Never("HTTP 404")
    receiver.answers.append(Response(status=302, headers={"Location": receiver.url("/other")}))
    assert isinstance(await sender.send(message), Never)
    assert {each.path for each in receiver.received} == {"/services/T1/B1/x"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert await SlackSender(SecretStr(f"http://127.0.0.1:{port}/services")).send(message) == NotNow(
        "no answer: ConnectError"
    )


async def test_email(mail: MailReceiver) -> None:
    """One transaction to all; text and escaped HTML; the Message-ID is the notification's in every repeat."""
    message = Message(ID, "Job failed: claude", "text", "<p>It &lt;failed&gt;</p>", None, "failure")
    sender = mailer(mail, "a@example.com", "b@example.com")
    for _ in range(2):
        assert await sender.send(message) == Sent()
    for recipients, made in mail.received:
        assert recipients == ["a@example.com", "b@example.com"]
        assert made["Message-ID"] == f"<{ID}@eldermesh>"
        assert (made["Subject"], made["From"]) == ("Job failed: claude", "mesh@example.com")
        assert (made["To"], made["Cc"]) == ("a@example.com", "b@example.com")
        html = made.get_body(("html",))
        assert html is not None
        assert html.get_content().strip() == "<p>It &lt;failed&gt;</p>"
    assert await mailer(mail).send(MESSAGE) == Sent()
    assert mail.received[-1][1].get_content().splitlines() == ["It failed.", "Look: mesh why"]


async def test_email_refusals(mail: MailReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """4xx is for later, 5xx for good; one recipient of two is enough; what the server cannot do is for good."""
    mail.answers += ["451 try later", "554 no"]
    assert await mailer(mail).send(MESSAGE) == NotNow("the mail server said 451")
    assert await mailer(mail).send(MESSAGE) == Never("the mail server said 554")
    mail.refused["b@example.com"] = "550 unknown"
    assert await mailer(mail, "a@example.com", "b@example.com").send(MESSAGE) == Sent("refused: 1 of 2 recipients")
    assert await mailer(mail, "b@example.com").send(MESSAGE) == Never("the mail server refused all recipients")
    mail.refused["b@example.com"] = "450 busy"
    assert await mailer(mail, "b@example.com").send(MESSAGE) == NotNow("the mail server refused all recipients")
    assert isinstance(await mailer(mail, tls="starttls").send(MESSAGE), Never)
    assert isinstance(await mailer(mail, user="u", password="p").send(MESSAGE), Never)
    assert isinstance(await mailer(mail, tls="tls").send(MESSAGE), NotNow)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mail.port = silent.getsockname()[1]
        monkeypatch.setattr(email, "SEND_SECONDS", 0.1)
        assert isinstance(await mailer(mail).send(MESSAGE), NotNow)


async def test_console() -> None:
    """One readable line, from which nothing can break out; a closed output is for later."""
    stream = io.StringIO()
    message = Message(ID, "Job \x1b[31mfailed", "one\n\n two\r\nNOTICE forged", None, None, "failure")
    assert await ConsoleSender(lambda: stream).send(message) == Sent()
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("NOTICE 2")
    assert line.endswith("Job �[31mfailed: one · two · NOTICE forged")

    def closed() -> io.StringIO:
        raise BrokenPipeError(32, "Broken pipe")

    assert await ConsoleSender(closed).send(message) == NotNow("standard output takes nothing: Broken pipe")
