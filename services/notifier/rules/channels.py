"""Channels as the rules file describes them. Secrets stand there as `${NAME}`: the variable, or the file NAME_FILE."""

from __future__ import annotations

import base64
import binascii
import os
import re
from pathlib import Path
from typing import Annotated, Literal

import httpx
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import SettingsError

from services.notifier.channels.console import ConsoleSender
from services.notifier.channels.email import EmailSender, Mailbox, TlsMode
from services.notifier.channels.sender import Sender
from services.notifier.channels.slack import SlackSender, check_slack_address
from services.notifier.channels.webhook import WebhookSender
from shared.secret_files import SUFFIX, secret_of_file
from shared.settings import Settings

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAIL_ADDRESS = re.compile(r"[^@\s<>(),;:\\\"\x00-\x1f\x7f]{1,64}@[^@\s<>(),;:\\\"\x00-\x1f\x7f]{1,190}")
_LEAST_SECRET_BYTES = 24
_PORTS: dict[TlsMode, int] = {"starttls": 587, "tls": 465, "none": 25}


def _from_environment(value: object) -> object:
    if not isinstance(value, str) or (found := _REFERENCE.fullmatch(value)) is None:
        raise ValueError("a secret: write ${NAME}, and set the variable NAME for the notifier")
    return _variable(found[1])


def _with_variables(value: object) -> object:
    return _REFERENCE.sub(lambda found: _variable(found[1]), value) if isinstance(value, str) else value


def _variable(name: str) -> str:
    value = os.environ.get(name)
    file = os.environ.get(f"{name}{SUFFIX}")
    if value and file:
        raise ValueError(f"both {name} and {name}{SUFFIX} are set: unset one of them")
    if not value and file:
        value = _of_file(f"{name}{SUFFIX}", Path(file))
    if not value:
        raise ValueError(f"the environment has no variable {name}: set it for the notifier, or {name}{SUFFIX}")
    return value


def _of_file(variable: str, path: Path) -> str:
    try:
        return secret_of_file(variable, path)
    except SettingsError as error:
        raise ValueError(f"the variable {error}") from error


def _http_address(value: SecretStr) -> SecretStr:
    try:
        url = httpx.URL(value.get_secret_value())
    except httpx.InvalidURL:
        raise ValueError("no URL") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("must be an address https://host/path")
    if url.userinfo:
        raise ValueError("must hold no user or password: the signature says who sends")
    return value


def _signing_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be whsec_ and base 64, as `openssl rand -base64 32` makes it") from None
    if len(key) < _LEAST_SECRET_BYTES:
        raise ValueError(f"must be of at least {_LEAST_SECRET_BYTES} bytes, as `openssl rand -base64 32` makes it")
    return value


def _slack_address(value: SecretStr) -> SecretStr:
    check_slack_address(value.get_secret_value())
    return value


def _mail_address(value: str) -> str:
    if not value.isascii():
        raise ValueError("must be of ASCII characters; a domain of others is written as xn--…")
    if _MAIL_ADDRESS.fullmatch(value) is None:
        raise ValueError("must be an address name@host, and nothing else")
    return value


Secret = Annotated[SecretStr, BeforeValidator(_from_environment)]
Text = Annotated[str, BeforeValidator(_with_variables), Field(min_length=1, max_length=256)]
MailAddress = Annotated[str, BeforeValidator(_with_variables), Field(max_length=254), AfterValidator(_mail_address)]


class _Channel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ConsoleChannel(_Channel):
    """Lines on the notifier's standard output."""

    type: Literal["console"]

    def sender(self, settings: Settings) -> Sender:  # noqa: ARG002 - as the others
        """The sender of this channel."""
        return ConsoleSender()


class WebhookChannel(_Channel):
    """Signed posts to one address (Standard Webhooks)."""

    type: Literal["webhook"]
    url: Annotated[SecretStr, BeforeValidator(_with_variables), AfterValidator(_http_address)]
    secret: Annotated[Secret, AfterValidator(_signing_secret)]

    def sender(self, settings: Settings) -> Sender:
        """The sender of this channel."""
        return WebhookSender(self.url, self.secret, allow_private=settings.notify_allow_private)


class SlackChannel(_Channel):
    """An incoming webhook of Slack, whose address is its secret."""

    type: Literal["slack"]
    url: Annotated[Secret, AfterValidator(_slack_address)]

    def sender(self, settings: Settings) -> Sender:  # noqa: ARG002 - as the others
        """The sender of this channel."""
        return SlackSender(self.url)


class EmailChannel(_Channel):
    """A mail server, the sender and the recipients."""

    type: Literal["email"]
    host: Text
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """587, 465 or 25 by default, as `tls` is."""
    tls: TlsMode = "starttls"
    sender_address: MailAddress = Field(alias="from")
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1, max_length=50)]
    user: Text | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _login_is_whole(self) -> EmailChannel:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if self.password is not None and self.tls == "none":
            raise ValueError("a password goes over an encrypted connection only: set tls to starttls or tls")
        return self

    def sender(self, settings: Settings) -> Sender:  # noqa: ARG002 - as the others
        """The sender of this channel."""
        port = self.port or _PORTS[self.tls]
        return EmailSender(Mailbox(self.host, port, self.sender_address, self.to, self.tls, self.user, self.password))


Channel = Annotated[ConsoleChannel | WebhookChannel | SlackChannel | EmailChannel, Field(discriminator="type")]
