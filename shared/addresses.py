"""Addresses as settings give them: what no connection can be opened to is refused, with what to write instead.

Refusals hold no part of a URL, which may hold a password.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, RedisDsn, SecretStr

_HOST_PORT = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<host>[^\[\]:]+))(?::(?P<port>[^:]*))?")
_PORT = re.compile(r"0*[0-9]{1,5}", re.ASCII)
_NOT_IN_HOSTS = re.compile(r"[\s\x00-\x20\x7f\[\]/\\@?#%:,]")
_NOT_IN_URLS = re.compile(r"[\s\x00-\x20\x7f]")
_MAX_PORT = 65_535
_MAX_HOST = 253
_SHOWN = 60


def split_host_port(address: str) -> tuple[str, int]:
    """Host, without brackets, and port of `host:port`.

    Raises:
        ValueError: it is none.
    """
    host, port = _split(address)
    if port is None:
        raise ValueError(f"{address[:_SHOWN]!r} names no port: write host:port, as ray-head:6379")
    return host, port


def _split(address: str) -> tuple[str, int | None]:
    shown = repr(address if len(address) <= _SHOWN else f"{address[:_SHOWN]}…")
    found = _HOST_PORT.fullmatch(address)
    if found is None:
        raise ValueError(f"{shown} is not host:port, as kafka:9092 or [::1]:9092")
    host, port = found["bracketed"] or found["host"], found["port"]
    if (trouble := _trouble_of_host(host, bracketed=found["bracketed"] is not None)) is not None:
        raise ValueError(f"{shown}: {trouble}")
    if port is None:
        return host, None
    if not _PORT.fullmatch(port) or not 0 < int(port) <= _MAX_PORT:
        raise ValueError(f"{shown}: the port has to be a number from 1 to {_MAX_PORT}")
    return host, int(port)


def _trouble_of_host(host: str, *, bracketed: bool) -> str | None:
    if bracketed:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return "there is no IPv6 address between the brackets"
        return None
    if _NOT_IN_HOSTS.search(host):
        return "the host holds characters that no host's name has"
    try:
        host.encode("idna")
    except UnicodeError:
        return "the parts of a host's name have 1 to 63 characters each"
    return None if len(host) <= _MAX_HOST else f"a host's name has at most {_MAX_HOST} characters"


def _brokers(text: str) -> str:
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not entries:
        raise ValueError("it names no broker: write host:port, as kafka:9092, or unset it")
    for entry in entries:
        _split(entry)
    return ",".join(entries)


def _host_port(text: str) -> str:
    split_host_port(text)
    return text


def _base_url(text: str) -> str:
    parts = _parts(text, "http://host:port")
    if parts.scheme not in {"http", "https"}:
        raise ValueError("it has to begin with http:// or https://")
    if not parts.hostname:
        raise ValueError("it names no host: write it as http://host:port")
    return text


def _redis_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if text.startswith("unix://"):
        if not text.removeprefix("unix://").partition("?")[0]:
            raise ValueError("it names no socket: write it as unix:///path/of/socket")
        return value
    RedisDsn(text)
    database = _parts(text, "redis://host:port/0").path.strip("/")
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError("behind the host stands the number of a database, as redis://host:6379/0")
    return value


def _parts(text: str, form: str) -> SplitResult:
    """The parts of a URL whose host and port, if it has them, are such."""
    if _NOT_IN_URLS.search(text.rpartition("@")[2]):
        raise ValueError("a URL holds no spaces and line ends")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"its host or port is not valid: write it as {form}") from error
    if port == 0:
        raise ValueError(f"the port has to be a number from 1 to {_MAX_PORT}")
    host = parts.hostname
    if host and (trouble := _trouble_of_host(host, bracketed=":" in host)) is not None:
        raise ValueError(trouble)
    return parts


Brokers = Annotated[str, AfterValidator(_brokers)]
"""`host:port` of each, comma separated; a port may be left out."""

HostPort = Annotated[str, AfterValidator(_host_port)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
