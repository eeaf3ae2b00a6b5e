"""Where Kafka is and how its clients log in: the one place that makes the options of aiokafka's clients."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import SecretStr

from eldermesh.tls import TlsFileError, tls_context

KafkaProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaSecurityError(ValueError):
    """Parts of a `KafkaSecurity` do not fit together, or a file cannot be used: correct `field`.

    Args:
        field: name of the field of `KafkaSecurity`.
        reason: one sentence without secrets.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """How clients connect to Kafka: with TLS or without, as which user.

    Args:
        protocol: as Kafka names it, in lower case.
        ca: file (PEM) with the certificates that sign those of brokers; those that this system trusts by default.
        certificate: file (PEM) with the client's own certificate, if brokers ask for one.
        key: file (PEM) with the key of that certificate, not encrypted.
        sasl_mechanism: how the user logs in.
        username: the user.
        password: its password.

    Raises:
        KafkaSecurityError: the protocol needs more, or does not use what is given.
    """

    protocol: KafkaProtocol = "plaintext"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    sasl_mechanism: SaslMechanism | None = None
    username: str | None = None
    password: SecretStr | None = None

    def __post_init__(self) -> None:
        if self.protocol not in get_args(KafkaProtocol):
            raise KafkaSecurityError("protocol", f"it is one of {', '.join(get_args(KafkaProtocol))}")
        if self.sasl_mechanism not in {None, *get_args(SaslMechanism)}:
            raise KafkaSecurityError("sasl_mechanism", f"it is one of {', '.join(get_args(SaslMechanism))}")
        for field in ("ca", "certificate", "key"):
            if getattr(self, field) is not None and not self.uses_tls:
                raise KafkaSecurityError(field, f"{self.protocol} uses no TLS: choose ssl or sasl_ssl, or leave it out")
        for field in ("sasl_mechanism", "username", "password"):
            given = getattr(self, field) is not None
            if given and not self.uses_sasl:
                why = f"{self.protocol} logs in no user: choose sasl_ssl or sasl_plaintext, or leave it out"
                raise KafkaSecurityError(field, why)
            if self.uses_sasl and not given:
                raise KafkaSecurityError(field, f"{self.protocol} needs it")

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.protocol in {"ssl", "sasl_ssl"}

    @property
    def uses_sasl(self) -> bool:
        """Whether a user logs in."""
        return self.protocol in {"sasl_plaintext", "sasl_ssl"}

    def ssl_context(self) -> ssl.SSLContext | None:
        """What TLS connections are made with; None without TLS.

        Raises:
            KafkaSecurityError: a file cannot be used, or of certificate and key only one is given.
        """
        if not self.uses_tls:
            return None
        try:
            return tls_context(self.ca, self.certificate, self.key)
        except TlsFileError as error:
            raise KafkaSecurityError(error.field, error.reason) from error


class KafkaAccess:
    """A Kafka cluster as one user reaches it. The files of `security` are read once, here.

    Args:
        bootstrap: `host:port` of brokers, comma separated.
        security: how to connect.

    Raises:
        KafkaSecurityError: a file of `security` cannot be used.
    """

    def __init__(self, bootstrap: str, security: KafkaSecurity | None = None) -> None:
        self.bootstrap = bootstrap
        self.security = security or KafkaSecurity()
        self._ssl_context = self.security.ssl_context()

    def __repr__(self) -> str:
        return f"KafkaAccess({self.bootstrap!r}, {self.security!r})"

    def options(self) -> dict[str, Any]:
        """Keyword arguments of aiokafka's producer, consumer and admin client, for address and login."""
        security = self.security
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": security.protocol.upper(),
            "ssl_context": self._ssl_context,
        }
        if security.uses_sasl and security.password is not None:
            options |= {
                "sasl_mechanism": security.sasl_mechanism,
                "sasl_plain_username": security.username,
                "sasl_plain_password": security.password.get_secret_value(),
            }
        return options
