"""The passwords of a mesh in containers: made once, kept, replaced by what is given."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from eldermesh_cli.operate.logins import main
from shared.settings import Settings

NAMES = ("redis/password", "redis/url", "redis/users.acl", "ray/token", "flower/login", "grafana/password")


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Where logins go, with a directory for each kind of reader, and where given ones come from."""
    for name in ("redis", "ray", "flower", "grafana"):
        (tmp_path / "logins" / name).mkdir(parents=True)
    (tmp_path / "given").mkdir()
    return tmp_path / "logins", tmp_path / "given"


def _run(places: tuple[Path, Path]) -> int:
    logins, given = places
    return main([str(logins), "--given", str(given)])


def _all(logins: Path) -> dict[str, str]:
    return {name: (logins / name).read_text("utf-8") for name in NAMES}


def test_made_at_random_and_kept(places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The first start makes all; the next finds them. Nobody can write them, and no password is told."""
    logins, given = places
    (given / "redis_password").write_bytes(b"")  # as secrets/none
    assert _run(places) == 0
    made = _all(logins)
    assert len({made["redis/password"], made["ray/token"], made["flower/login"].partition(":")[2]}) == 3
    assert all(len(made[name]) >= 64 for name in ("redis/password", "ray/token"))
    assert {(logins / name).stat().st_mode & 0o777 for name in NAMES} == {0o444}
    assert _run(places) == 0
    assert _all(logins) == made
    assert [path for path in logins.rglob("*") if path.is_file()].__len__() == len(NAMES)
    said = capsys.readouterr().out
    assert said.endswith("nothing, all are there\n")
    assert made["redis/password"] not in said


def test_another_mesh_has_others(places: tuple[Path, Path], tmp_path: Path) -> None:
    """Random, and not only unlikely to be guessed by its reader."""
    assert _run(places) == 0
    first = _all(places[0])
    for name in NAMES:
        (places[0] / name).unlink()
    assert _run(places) == 0
    assert not set(first.values()) & set(_all(places[0]).values())


def test_what_is_given_comes_first(places: tuple[Path, Path]) -> None:
    """In place of what is kept; any character may be in it, since a URL and Redis' file are told it safely."""
    logins, given = places
    assert _run(places) == 0
    token = (logins / "ray" / "token").read_text("utf-8")
    (given / "redis_password").write_text("p@ss: w/ö?d\n", encoding="utf-8")
    (given / "flower_login").write_text("ann:secret", encoding="utf-8")
    assert _run(places) == 0
    after = _all(logins)
    assert (after["redis/password"], after["flower/login"], after["ray/token"]) == ("p@ss: w/ö?d", "ann:secret", token)
    assert hashlib.sha256("p@ss: w/ö?d".encode()).hexdigest() in after["redis/users.acl"]
    assert "p@ss" not in after["redis/users.acl"]
    address = urlsplit(after["redis/url"])
    assert (address.username, address.hostname, address.port) == ("mesh", "redis", 6379)


def test_the_settings_take_them(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variables that compose.yaml sets."""
    logins, _ = places
    assert _run(places) == 0
    monkeypatch.setenv("MESH_REDIS_URL_FILE", str(logins / "redis" / "url"))
    monkeypatch.setenv("MESH_RAY_AUTH_TOKEN_FILE", str(logins / "ray" / "token"))
    settings = Settings.of_environment(_env_file=None)
    assert settings.redis_url.get_secret_value() == _all(logins)["redis/url"]
    assert settings.ray_auth_token is not None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ray_auth_token", b"short", "ray_auth_token has 5 characters: give at least 32"),
        ("flower_login", b"no colon", "flower_login is not user:password in ASCII: write it so"),
        ("flower_login", "ann:\u00fc".encode(), "flower_login is not user:password in ASCII: write it so"),
        (
            "redis_password",
            b"two\nlines",
            "redis_password is not one line of characters that can be typed: write it so",
        ),
        ("redis_password", b"\xff", "redis_password is not UTF-8: write it anew"),
    ],
)
def test_what_cannot_be_used_is_refused(
    places: tuple[Path, Path], capsys: pytest.CaptureFixture[str], name: str, content: bytes, said: str
) -> None:
    """One line, and nothing is written."""
    logins, given = places
    (given / name).write_bytes(content)
    assert _run(places) == 1
    assert capsys.readouterr().err.startswith(f"logins: {said}")
    assert not [path for path in logins.rglob("*") if path.is_file()]


def test_a_place_that_is_not_there(places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A volume that is not mounted is named."""
    logins, _ = places
    (logins / "flower").rmdir()
    assert _run(places) == 1
    assert str(logins / "flower") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("pipe", "a pipe, no regular file"),
        ("device", "a device, no regular file"),
        ("directory", "a directory, no regular file"),
        ("long", "larger than 1 KiB"),
    ],
)
def test_what_cannot_be_a_password(
    places: tuple[Path, Path], kind: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe would wait for ever and a device never end; what every reader refuses later is refused here."""
    logins, given = places
    path = given / "redis_password"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_text("x" * 1025, encoding="ascii")
    assert _run(places) == 1
    assert capsys.readouterr().err == f"logins: redis_password cannot be read: {why}\n"
    assert not any(path.is_file() for path in logins.rglob("*"))
