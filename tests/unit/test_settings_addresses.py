"""Addresses in settings: what no connection can be opened to is refused where settings are read, and named."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from eldermesh.launch import python_command
from shared.errors import ConfigurationError
from shared.settings import Settings

LABEL = "a" * 300
SERVERS = [
    ":",
    "localhost:99999999",
    "localhost:0",
    "localhost:",
    "localhost:abc",
    "localhost:٩٠٩٢",
    "a:1²",
    "[::1",
    "[x]:9092",
]
SERVERS += [
    "::1:9092",
    f"{LABEL}:9092",
    "a..b:9092",
    ".".join(["a"] * 200),
    "a b:9092",
    "a\n:9092",
    "http://kafka:9092",
]
SERVERS += ["kafka:9092,localhost:x", "kafka@me:9092"]
URLS = [":", "localhost:4318", "http://", "http:///path", "http://[::1", "http://[x]", "ftp://x/", "http://a:99999999"]
URLS += [f"http://{LABEL}/", "http://a b/", "http://a/\n", "http://a:b:c", "http://:4318", " http://a", "http://a:0"]
REDIS = [
    ":",
    "",
    "redis://[::1",
    "redis://a:999999",
    "redis://a:0",
    f"redis://{LABEL}/0",
    "redis://a/notanumber",
    "unix://",
    "http://a",
]
IMPOSSIBLE = [
    *(("KAFKA_BOOTSTRAP", text) for text in ["", ",", " , ", *SERVERS]),
    *(("RAY_ADDRESS", text) for text in ["ray-head", "auto", "ray://head:10001", "a:1,b:1", *SERVERS]),
    *(
        (name, text)
        for name in ("OTLP_ENDPOINT", "TRACE_QUERY_URL", "TRACE_UI_URL", "ANTHROPIC_BASE_URL")
        for text in URLS
    ),
    *(("REDIS_URL", text) for text in REDIS),
]
POSSIBLE = [
    ("KAFKA_BOOTSTRAP", "kafka", "kafka"),
    ("KAFKA_BOOTSTRAP", "kafka_1.example.org.:9092", "kafka_1.example.org.:9092"),
    ("KAFKA_BOOTSTRAP", "a:9092, b:9093 ,", "a:9092,b:9093"),
    ("KAFKA_BOOTSTRAP", "[::1]:9092,[fe80::1%eth0]:9092", "[::1]:9092,[fe80::1%eth0]:9092"),
    ("KAFKA_BOOTSTRAP", "bücher.example:9092", "bücher.example:9092"),
    ("RAY_ADDRESS", "[::1]:6379", "[::1]:6379"),
    ("TRACE_QUERY_URL", "https://me:pw@jaeger.example.org/base/", "https://me:pw@jaeger.example.org/base/"),
    ("TRACE_UI_URL", "http://[::1]:16686", "http://[::1]:16686"),
]


@pytest.mark.parametrize(("name", "text"), IMPOSSIBLE)
def test_an_impossible_address_is_refused(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the setting, and is one short line."""
    monkeypatch.setenv(f"MESH_{name}", text)
    with pytest.raises(ConfigurationError) as refused:
        Settings.of_environment()
    said = str(refused.value)
    assert said.startswith(f"the settings are wrong: MESH_{name}: ")
    assert "\n" not in said
    assert len(said) < 300


@pytest.mark.parametrize(("name", "text", "read"), POSSIBLE)
def test_possible_addresses(name: str, text: str, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are taken as they are written, or nearly so."""
    monkeypatch.setenv(f"MESH_{name}", text)
    assert getattr(Settings.of_environment(), name.lower()) == read


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.default is None])
def test_an_optional_setting_that_is_empty_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files write `${NAME:-}`."""
    monkeypatch.setenv(f"MESH_{name.upper()}", "")
    assert getattr(Settings.of_environment(), name) is None


@pytest.mark.parametrize(
    ("name", "url"),
    [
        *(("REDIS_URL", url) for url in ["redis://:s3cret@[::1/0", "redis://:s3cret@a b:1/0", "s3cret@redis"]),
        *(("REDIS_URL", url) for url in ["redis://:a:s3cret", "redis://:s3cret@a/b", f"redis://:s3cret@{LABEL}/0"]),
        *(("OTLP_ENDPOINT", url) for url in ["http://me:s3cret@[::1", "http://me:s3cret@a:b", "http://me:s3cret@a b"]),
        *(("OTLP_ENDPOINT", url) for url in ["me:s3cret@a", "http://me:s3cret@", f"http://me:s3cret@{LABEL}"]),
    ],
)
def test_a_secret_is_not_told(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with its address."""
    monkeypatch.setenv(f"MESH_{name}", url)
    with pytest.raises(ConfigurationError) as refused:
        Settings.of_environment()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("text", ["inf", "1e309", "nan", "-1"])
def test_a_duration_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for ever, or for not a number."""
    monkeypatch.setenv("MESH_LEASE_SECONDS", text)
    with pytest.raises(ConfigurationError, match="MESH_LEASE_SECONDS: "):
        Settings.of_environment()


PROGRAMS = [
    ("services.router",),
    ("services.claude_exec.loopback",),
    ("services.router.engines.celery.worker",),
    ("services.router.engines.celery.flower",),
    ("services.router.engines.ray.node", "head"),
    ("eldermesh_cli.stack.telemetry.receiver", "--port", "0", "--db", "spans.sqlite"),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_every_service_says_it(program: tuple[str, ...], tmp_path: Path) -> None:
    """In one line, and ends with 2."""
    ran = _started(program, tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "does not start: the settings are wrong: MESH_KAFKA_BOOTSTRAP: ':'" in ran.stderr


def test_a_health_check_says_it(tmp_path: Path) -> None:
    """A container is ill then, by the one status that says so."""
    ran = _started(("services.sages.health",), tmp_path)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "MESH_KAFKA_BOOTSTRAP" in ran.stderr


def _started(program: tuple[str, ...], directory: Path) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"MESH_KAFKA_BOOTSTRAP": ":", "MESH_DATA_DIR": str(directory)}
    return subprocess.run(
        python_command(*program), cwd=directory, env=variables, capture_output=True, text=True, timeout=120, check=False
    )
