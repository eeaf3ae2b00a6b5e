"""Redis with TLS and ACL users, for tests: Debian's redis-server, since the embedded one has no TLS."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trustme
from pydantic import SecretStr
from redis.exceptions import RedisError

from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from eldermesh_cli.stack.service import Service, ServiceSpec
from shared.redis_client import make_redis
from shared.settings import Settings


def redis_missing() -> str | None:
    """Why a Redis with TLS cannot be started here; None if it can."""
    if shutil.which("redis-server") is None:
        return "no Redis with TLS: run scripts/fetch_redis.sh"
    return None


def mesh_rules(prefix: str) -> Sequence[str]:
    """The rules of the user of a mesh, as `docs/how-to/secure-kafka-and-redis.md` has them."""
    keys = (f"~{prefix}*", f"~{{h:{prefix}*", f"~producing:{prefix}*")
    # Redis compares a pattern that somebody subscribes to with these letter by letter.
    channels = (f"&{prefix}celery:/0.celery.pidbox", f"&{prefix}celery:/0.celeryev/*")
    return (*keys, *channels, "+@all", "-@admin", "-@dangerous", "+info")


class SecureRedis:
    """A Redis that takes `users` alone, over TLS; its certificate is for 127.0.0.1. Keeps nothing on disk.

    Args:
        data_dir: where certificates and log lie.
        users: rules by name. A user's password is the name and `-secret`.
    """

    def __init__(self, data_dir: Path, users: Mapping[str, Sequence[str]]) -> None:
        self._port = free_port()
        self._user = next(iter(users))
        data_dir.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        self.ca, self.other_ca = data_dir / "ca.pem", data_dir / "other_ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        trustme.CA().cert_pem.write_to_path(self.other_ca)
        certificate = data_dir / "redis.pem"
        authority.issue_cert(LOOPBACK).private_key_and_cert_chain_pem.write_to_path(certificate)
        lines = [
            *(f"bind {LOOPBACK}", "port 0", f"tls-port {self._port}", 'save ""', "maxmemory-policy noeviction"),
            *(f"tls-cert-file {certificate}", f"tls-key-file {certificate}", f"tls-ca-cert-file {self.ca}"),
            *("tls-auth-clients no", f"dir {data_dir}", "user default off"),
            *(f"user {name} on >{name}-secret {' '.join(rules)}" for name, rules in users.items()),
        ]
        configuration = data_dir / "redis.conf"
        configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.service = Service(
            ServiceSpec(
                name="secure-redis",
                command=("redis-server", str(configuration)),
                inherit_env=False,
                ready=self._answers,
                stop_grace_seconds=10.0,
            ),
            log_dir=data_dir / "logs",
        )

    def settings(self, user: str, **others: Any) -> dict[str, Any]:
        """Settings of the mesh with which this user connects; `others` in place of the right ones."""
        url = f"rediss://{user}:{user}-secret@{LOOPBACK}:{self._port}/0"
        return {"redis_url": SecretStr(url), "redis_ca": self.ca} | others

    async def _answers(self) -> None:
        redis = make_redis(Settings(**self.settings(self._user), _env_file=None))
        try:
            await redis.ping()
        except (OSError, RedisError) as error:
            raise NotReadyError(f"no answer from port {self._port}: {error!r}") from error
        finally:
            await redis.aclose()
