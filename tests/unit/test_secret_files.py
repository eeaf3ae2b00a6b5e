"""Secrets from files: each secret setting, in one sentence what is wrong with a file, and nothing handed on twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.secret_files import is_secret
from shared.settings import Settings

SECRETS = {name: f"s3cret-{name}" for name, field in Settings.model_fields.items() if is_secret(field)}
SECRETS["redis_url"] = "redis://:s3cret@h:6379/0"
LOGIN = {"SECURITY": "sasl_plaintext", "SASL_MECHANISM": "PLAIN", "USERNAME": "alice"}


@pytest.fixture(autouse=True)
def login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What Kafka's password needs beside it, and a working directory without `.env`."""
    monkeypatch.chdir(tmp_path)
    for name, value in LOGIN.items():
        monkeypatch.setenv(f"MESH_KAFKA_{name}", value)


def _file(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "secret"
    path.write_bytes(content)
    return str(path)


def test_every_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Addresses with passwords, too."""
    assert {"redis_url", "kafka_password", "anthropic_api_key", "ray_auth_token"} <= set(SECRETS)
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(f"{value}\n", encoding="utf-8")
        monkeypatch.setenv(f"MESH_{name.upper()}_FILE", str(tmp_path / name))

    settings = Settings.of_environment()

    assert {name: getattr(settings, name).get_secret_value() for name in SECRETS} == SECRETS
    assert set(SECRETS) <= settings.model_fields_set


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"pw", "pw"), (b"pw\n", "pw"), (b"pw\r\n", "pw"), (b"pw\n\n", "pw\n"), (b" pw ", " pw "), ("pä".encode(), "pä")],
)
def test_one_newline_is_not_part_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, secret: str
) -> None:
    """All else is."""
    monkeypatch.setenv("MESH_KAFKA_PASSWORD_FILE", _file(tmp_path, content))

    password = Settings.of_environment().kafka_password

    assert password is not None
    assert password.get_secret_value() == secret


def test_an_empty_file_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor is an empty name of a file; an address keeps its default."""
    monkeypatch.setenv("MESH_REDIS_URL_FILE", _file(tmp_path, b"\n"))
    monkeypatch.setenv("MESH_KAFKA_PASSWORD", "pw")
    monkeypatch.setenv("MESH_KAFKA_PASSWORD_FILE", "")

    settings = Settings.of_environment()

    assert settings.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"
    assert "redis_url" not in settings.model_fields_set
    assert settings.kafka_password is not None


def test_a_variable_that_is_there_and_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Compose files write `${MESH_KAFKA_PASSWORD:-}`: the file counts."""
    monkeypatch.setenv("MESH_KAFKA_PASSWORD", "")
    monkeypatch.setenv("MESH_KAFKA_PASSWORD_FILE", _file(tmp_path, b"pw"))

    assert Settings.of_environment().kafka_password is not None


def test_the_file_may_be_named_in_dotenv(tmp_path: Path) -> None:
    """As every other variable."""
    path = _file(tmp_path, b"pw")
    (tmp_path / ".env").write_text(f"MESH_KAFKA_PASSWORD_FILE={path}\n", encoding="utf-8")

    assert Settings.of_environment().kafka_password is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x" * (64 * 1024 + 1), r"MESH_KAFKA_PASSWORD_FILE: .*/secret cannot be read: larger than 64 KiB"),
        (b"\xff", r"MESH_KAFKA_PASSWORD_FILE: .*/secret is not UTF-8"),
        (None, r"MESH_KAFKA_PASSWORD_FILE: .*/secret cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, message: str
) -> None:
    """It is refused by the name of the variable."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("MESH_KAFKA_PASSWORD_FILE", str(path))

    with pytest.raises(ConfigurationError, match=message):
        Settings.of_environment()


def test_a_pipe_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody writes into it."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("MESH_KAFKA_PASSWORD_FILE", str(tmp_path / "pipe"))

    with pytest.raises(ConfigurationError, match=r"MESH_KAFKA_PASSWORD_FILE: .*a pipe"):
        Settings.of_environment()


def test_both_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody can say which is meant."""
    monkeypatch.setenv("MESH_KAFKA_PASSWORD", "s3cret")
    monkeypatch.setenv("MESH_KAFKA_PASSWORD_FILE", _file(tmp_path, b"s3cret"))

    with pytest.raises(ConfigurationError, match="MESH_KAFKA_PASSWORD and MESH_KAFKA_PASSWORD_FILE are both") as raised:
        Settings.of_environment()

    assert "s3cret" not in str(raised.value)


def test_children_read_no_file_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They inherit the variable with the path, and get the secret itself."""
    monkeypatch.setenv("MESH_KAFKA_PASSWORD_FILE", _file(tmp_path, b"pw"))
    for name, value in Settings.of_environment().environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "secret").unlink()

    password = Settings.of_environment().kafka_password

    assert password is not None
    assert password.get_secret_value() == "pw"
