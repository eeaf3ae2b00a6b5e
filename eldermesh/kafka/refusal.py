"""Why brokers that are there do not let a client in: asked when a client could not connect, to say more than that.

aiokafka tries the next broker after whatever fails, and says in the end that none could be reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (  # noqa: TID251 - the layer translates them
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from eldermesh.kafka.errors import KafkaRefusedError

_ASK_SECONDS = 5.0
"""Longest that all brokers are asked."""

_CLOSE_SECONDS = 1.0
"""Longest wait for a broker that does not answer the end of a TLS connection."""

_WRONG_HOST = (62, 64)
"""What OpenSSL says of a name, and of an address, that is not in a certificate."""
_EXPIRED = 10


async def refusal(client: Any) -> KafkaRefusedError | None:
    """Why one of the client's brokers refuses it; None if none of them does.

    Args:
        client: an `AIOKafkaClient`, which knows the brokers' addresses and how to log in.
    """
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            for host, port, _ in client.hosts:
                if (refused := await _ask(_Broker(client, host, port))) is not None:
                    return refused
    except TimeoutError:
        pass  # whoever does not answer in time refuses nothing
    return None


class _Broker:
    """A broker, and how the client that could not connect speaks to it."""

    def __init__(self, client: Any, host: str, port: int) -> None:
        self.host = host
        self.name = f"the broker at {host}:{port}"
        self.user: str | None = client._sasl_plain_username  # noqa: SLF001 - here and below: there is no public place
        self.mechanism: str = client._sasl_mechanism  # noqa: SLF001
        self.protocol: str = client._security_protocol  # noqa: SLF001
        self.uses_tls = self.protocol.endswith("SSL")
        self._port = port
        self._options = {
            "request_timeout_ms": int(_ASK_SECONDS * 1000),
            "ssl_context": client._ssl_context,  # noqa: SLF001
            "security_protocol": self.protocol,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.user,
            "sasl_plain_password": client._sasl_plain_password,  # noqa: SLF001
        }

    async def connect(self, *, then_ask: bool = True, **others: Any) -> None:
        """Connect, log in, and ask for something that needs both; `others` are options in place of the client's."""
        connection = AIOKafkaConnection(self.host, self._port, **(self._options | others))
        try:
            await connection.connect()
            if then_ask:
                await connection.send(MetadataRequest([]))
        finally:
            closed = connection.close()
            if connection._protocol is not None:  # noqa: SLF001 - as above; without it there was no connection
                # TLS ends when the broker has answered: a loop that ends before that leaves the socket open.
                await asyncio.wait({closed}, timeout=_CLOSE_SECONDS)

    async def speaks_tls(self) -> bool:
        """Whether it makes a TLS connection, with whatever certificate. Nothing is sent over it."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            _, writer = await asyncio.open_connection(self.host, self._port, ssl=context)
        except OSError:
            return False
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def answers(self, *, then_ask: bool = True, **others: Any) -> bool:
        """Whether `connect` succeeds."""
        try:
            await self.connect(then_ask=then_ask, **others)
        except (KafkaError, OSError):
            return False
        return True

    async def greets(self, **others: Any) -> bool:
        """Whether it answers what anybody may ask before a login; `others` are options in place of the client's."""
        return await self.answers(then_ask=False, **others)


async def _ask(broker: _Broker) -> KafkaRefusedError | None:
    try:
        await broker.connect()
    except (KafkaError, OSError) as error:
        reason = await _reason(broker, error)
        return None if reason is None else KafkaRefusedError(error, reason)
    return None


async def _reason(broker: _Broker, error: Exception) -> str | None:
    match error:
        case ssl.SSLCertVerificationError():
            return _of_certificate(broker, error)
        case SaslAuthenticationFailed():
            return f"{broker.name} refuses the user {broker.user}: name or password (MESH_KAFKA_PASSWORD) is wrong"
        case UnsupportedSaslMechanismError():
            return f"{broker.name} does not take {broker.mechanism}: choose another MESH_KAFKA_SASL_MECHANISM"
        case IllegalSaslStateError():
            return f"{broker.name} logs in no users on that port: check MESH_KAFKA_SECURITY and the port"
        case ConnectionRefusedError():
            return None
        case KafkaConnectionError() | OSError():
            return await _of_broken_connection(broker)
    return None


def _of_certificate(broker: _Broker, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _WRONG_HOST:
        return f"the certificate of {broker.name} is not for {broker.host}: use a name that stands in it"
    if error.verify_code == _EXPIRED:
        return f"the certificate of {broker.name} has expired"
    return f"the certificate of {broker.name} is not signed by the CA in MESH_KAFKA_CA ({error.verify_message})"


async def _of_broken_connection(broker: _Broker) -> str | None:
    """A broker that is spoken to in the wrong way closes the connection without a word.

    So does one that stops or starts: where it is not clear which, it is asked again.
    """
    if broker.protocol in {"PLAINTEXT", "SSL"} and await broker.greets() and not await broker.answers():
        login = f"sasl_{broker.protocol.lower()}"
        return f"{broker.name} wants users to log in: set MESH_KAFKA_SECURITY to {login}"
    if not broker.uses_tls:
        if await broker.speaks_tls():
            return f"{broker.name} speaks TLS on that port: set MESH_KAFKA_SECURITY to ssl or sasl_ssl"
        return None
    if await broker.greets(security_protocol="PLAINTEXT", ssl_context=None):
        return f"{broker.name} speaks no TLS on that port: check MESH_KAFKA_SECURITY and the port"
    if await broker.speaks_tls() and not await broker.answers():
        return f"{broker.name} closes the TLS connection: does it want another MESH_KAFKA_CERTIFICATE?"
    return None
