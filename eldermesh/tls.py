"""The files of a TLS client, checked where they are named and not at the first connection."""

from __future__ import annotations

import ssl
from pathlib import Path


class TlsFileError(ValueError):
    """A file cannot be used: correct `field`, which is `ca`, `certificate` or `key`.

    Args:
        field: which of the three.
        reason: one sentence.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """A context for clients that checks certificates and names of servers.

    Args:
        ca: the certificates that sign those of servers; None: those that this system trusts.
        certificate: the client's own, if it has one.
        key: the key of that certificate.

    Raises:
        TlsFileError: a file is missing or holds something else, or the key is not that of the certificate.
    """
    for field, path in (("ca", ca), ("certificate", certificate), ("key", key)):
        if path is not None:
            _require_readable(field, path)
    if certificate is None and key is not None:
        raise TlsFileError("certificate", "a key needs its certificate")
    if key is None and certificate is not None:
        raise TlsFileError("key", "a certificate needs its key")
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise TlsFileError("ca", f"{ca} holds no certificate in PEM form") from error
    if certificate is not None and key is not None:
        _load_own(context, certificate, key)
    return context


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_refuse_passphrase)
    except _EncryptedKeyError as error:
        raise TlsFileError("key", f"the key in {key} is encrypted: give one without a passphrase") from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsFileError("key", f"the key in {key} is not that of the certificate {certificate}") from error
        raise TlsFileError("certificate", f"{certificate} and {key} are not both in PEM form") from error


class _EncryptedKeyError(Exception):
    """OpenSSL asks for a passphrase; without an answer from us it would ask on the terminal."""


def _refuse_passphrase() -> str:
    raise _EncryptedKeyError


def _require_readable(field: str, path: Path) -> None:
    if not path.is_file():  # a pipe would be waited for
        raise TlsFileError(field, f"there is no file {path}")
    try:
        path.open("rb").close()
    except OSError as error:
        raise TlsFileError(field, f"{path} cannot be read: {error.strerror}") from error
