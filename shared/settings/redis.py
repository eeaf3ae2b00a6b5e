"""Redis: where it is, and how to log in."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from eldermesh.tls import TlsFileError, tls_context
from shared.addresses import RedisUrl


class RedisSettings(BaseModel):
    """Address and login of Redis."""

    redis_url: RedisUrl = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey address; `rediss://user:password@host:port/0` with TLS.",
    )
    redis_ca: Path | None = Field(
        None, description="File (PEM) of the CA that signs Redis' certificate; those of the system are trusted as well."
    )
    redis_certificate: Path | None = Field(None, description="File (PEM) of a client certificate for Redis.")
    redis_key: Path | None = Field(None, description="File (PEM) of its key, not encrypted.")

    @model_validator(mode="after")
    def _redis_files_fit(self) -> Self:
        """A file that cannot be used is refused at the start and not at the first connection."""
        try:
            self._check_files()
        except TlsFileError as error:
            raise ValueError(f"MESH_REDIS_{error.field.upper()}: {error.reason}") from error
        return self

    def _check_files(self) -> None:
        files = {"ca": self.redis_ca, "certificate": self.redis_certificate, "key": self.redis_key}
        if self.redis_url.get_secret_value().startswith("rediss://"):
            tls_context(**files)
            return
        for field, path in files.items():
            if path is not None:
                raise TlsFileError(field, "MESH_REDIS_URL uses no TLS: let it begin with rediss://, or leave this out")
