"""The passwords inside compose.yaml: given as files, or made at random on the first start and kept in volumes.

`python -m eldermesh.launch eldermesh_cli.operate.logins /run/logins --given /run/secrets`

Each directory below the first has what one kind of container reads: `redis`, `ray`, `flower` and `grafana`. A password
that is neither given nor there yet is made; one that is there stays, unless another is given.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from shared.text.regular_file import FileRefusedError, read_regular_file

_LEAST_TOKEN = 32
"""Ray takes no shorter one."""

_MAX_BYTES = 1024
"""Flower reads no longer log-in."""


class LoginError(Exception):
    """A password that is given or kept cannot be used; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; exit status 1 and one line if that cannot be done."""
    parser = argparse.ArgumentParser(prog="logins", description="Make the passwords of a mesh in containers.")
    parser.add_argument("directory", type=Path, help="has a directory for each kind of container that reads them")
    parser.add_argument("--given", type=Path, required=True, help="has what was given; an empty file is nothing")
    chosen = parser.parse_args(arguments)
    try:
        made = write_logins(chosen.directory, chosen.given)
    except (LoginError, OSError) as error:
        print(f"logins: {error}", file=sys.stderr)  # noqa: T201 - a container's log is read by people
        return 1
    print(f"logins: wrote {', '.join(made) or 'nothing, all are there'}")  # noqa: T201 - see above
    return 0


def write_logins(directory: Path, given: Path) -> list[str]:
    """Write what is missing or was given anew; return the names of these files.

    Raises:
        LoginError: a password that is given or kept cannot be used.
        OSError: a file cannot be read or written.
    """
    password = _chosen(given / "redis_password", directory / "redis" / "password")
    token = _chosen(given / "ray_auth_token", directory / "ray" / "token")
    login = _chosen(given / "flower_login", directory / "flower" / "login", user="mesh:")
    grafana = _chosen(given / "grafana_password", directory / "grafana" / "password")
    if len(token) < _LEAST_TOKEN:
        raise LoginError(f"ray_auth_token has {len(token)} characters: give at least {_LEAST_TOKEN}")
    user, _, rest = login.partition(":")
    if not (user and rest and login.isascii()):
        raise LoginError("flower_login is not user:password in ASCII: write it so")
    files = {
        "redis/password": password,
        "redis/url": f"redis://mesh:{quote(password, safe='')}@redis:6379/0",
        "redis/users.acl": _acl(password),
        "ray/token": token,
        "flower/login": login,
        "grafana/password": grafana,
    }
    return [name for name, content in files.items() if _written(directory / name, content)]


def _chosen(given: Path, kept: Path, *, user: str = "") -> str:
    """What is given, else what is kept, else something new for this user."""
    for path in (given, kept):
        content = _content(path)
        if content:
            if not content.isprintable():
                raise LoginError(f"{path.name} is not one line of characters that can be typed: write it so")
            return content
    return f"{user}{secrets.token_hex(32)}"


def _content(path: Path) -> str:
    try:
        return read_regular_file(path, _MAX_BYTES).decode().removesuffix("\n").removesuffix("\r")
    except FileNotFoundError:
        return ""
    except FileRefusedError as error:
        raise LoginError(f"{path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LoginError(f"{path.name} is not UTF-8: write it anew") from error


def _acl(password: str) -> str:
    """Redis' users: the mesh, by the hash of its password, and one for the health check that can do nothing else."""
    users: Mapping[str, str] = {
        "default": "off",
        "mesh": f"on #{hashlib.sha256(password.encode()).hexdigest()} ~* &* +@all -@admin +info",
        "health": "on nopass resetkeys resetchannels -@all +ping",
    }
    return "".join(f"user {name} {rules}\n" for name, rules in users.items())


def _written(path: Path, content: str) -> bool:
    """Replace the file as a whole if it holds something else. Whoever mounts its volume may read it, under any user."""
    if path.is_file() and path.read_bytes() == content.encode():
        return False
    fd, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o444)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


if __name__ == "__main__":
    sys.exit(main())
