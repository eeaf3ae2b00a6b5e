"""Which mesh a verb speaks to, and what `mesh config` shows of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from eldermesh_cli.operate.config import without_password
from eldermesh_cli.program.target_mesh import find_mesh
from eldermesh_cli.stack.processes.identity import ProcessIdentity
from eldermesh_cli.stack.runtime_file import RUNTIME_NAME, Runtime, write_runtime
from tests.unit.cli.command_line import CommandLine


@pytest.fixture
def runtime(tmp_path: Path, mesh: CommandLine) -> Runtime:
    """The runtime file of a mesh whose supervisor is this very process."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    runtime = Runtime(
        kafka_bootstrap="127.0.0.1:7001",
        redis_url="redis://:s3cret@127.0.0.1:7002/0",
        otlp_endpoint="http://127.0.0.1:7003",
        trace_query_url="http://127.0.0.1:7004",
        topic_prefix="mine.",
        broker_profile="embedded",
        partitions=3,
        supervisor=ProcessIdentity.of_this_process(),
        ready_seconds=1.0,
    )
    write_runtime(data_dir, runtime)
    return runtime


def test_the_mesh_of_the_data_directory(runtime: Runtime) -> None:
    """Without an address in the environment it is the mesh that runs on the data directory, with all its addresses."""
    found = find_mesh()

    assert found.found_by == "runtime"
    assert found.settings.kafka_bootstrap == "127.0.0.1:7001"
    assert found.settings.redis_url.get_secret_value() == "redis://:s3cret@127.0.0.1:7002/0"
    assert found.settings.otlp_endpoint == "http://127.0.0.1:7003"
    assert found.settings.trace_query_url == "http://127.0.0.1:7004"
    assert found.settings.topic_prefix == "mine."
    assert found.settings.broker_profile == "embedded"
    assert found.settings.partition_count == 3


def test_the_environment_wins(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address in the environment is meant, whatever runs here; nothing of the other mesh is mixed in."""
    monkeypatch.setenv("MESH_KAFKA_BOOTSTRAP", "kafka.example.org:9092")

    found = find_mesh()

    assert found.found_by == "environment"
    assert found.settings.kafka_bootstrap == "kafka.example.org:9092"
    assert found.settings.otlp_endpoint is None
    assert found.settings.topic_prefix == ""


def test_other_settings_stay(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says besides addresses holds for the running mesh, too."""
    monkeypatch.setenv("MESH_TRACE_UI_URL", "http://localhost:16686")
    monkeypatch.setenv("MESH_TRACE_QUERY_URL", "http://localhost:16687")
    monkeypatch.setenv("MESH_OTLP_ENDPOINT", "http://localhost:4318")

    settings = find_mesh().settings

    assert settings.trace_ui_url == "http://localhost:16686"
    assert settings.trace_query_url == "http://localhost:16687"
    assert settings.otlp_endpoint == "http://127.0.0.1:7003"


def test_a_mesh_that_died(runtime: Runtime, tmp_path: Path) -> None:
    """A file that a dead supervisor left behind is nobody's address."""
    dead = ProcessIdentity(pid=runtime.supervisor.pid, start_ticks=1, boot_id=runtime.supervisor.boot_id)
    write_runtime(tmp_path / "data", runtime.model_copy(update={"supervisor": dead}))

    assert find_mesh().found_by == "defaults"


def test_a_damaged_runtime_file(mesh: CommandLine, runtime: Runtime, tmp_path: Path) -> None:
    """A runtime file that is none is an error with a hint, not a guess."""
    (tmp_path / "data" / RUNTIME_NAME).write_text("{")

    ran = mesh("config", "--json")

    assert ran.status == 3
    assert ran.error()["error_type"] == "damaged"


def test_config_hides_secrets(mesh: CommandLine, runtime: Runtime) -> None:
    """Addresses are shown, passwords are not: neither as JSON nor as text."""
    as_json, as_text = mesh("config", "--json"), mesh("config")

    assert as_json.status == as_text.status == 0
    assert "s3cret" not in as_json.stdout + as_text.stdout + as_text.stderr
    assert '"redis_url":"redis://:***@127.0.0.1:7002/0"' in as_json.stdout
    assert "MESH_REDIS_URL=redis://:***@127.0.0.1:7002/0\n" in as_text.stdout
    assert "MESH_PARTITIONS=3\n" in as_text.stdout


def test_config_hides_the_login_at_kafka(mesh: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is shown, the password is not."""
    for name, value in (("BOOTSTRAP", "h:1"), ("SECURITY", "sasl_plaintext"), ("SASL_MECHANISM", "PLAIN")):
        monkeypatch.setenv(f"MESH_KAFKA_{name}", value)
    monkeypatch.setenv("MESH_KAFKA_USERNAME", "alice")
    monkeypatch.setenv("MESH_KAFKA_PASSWORD", "s3cret")

    as_json, as_text = mesh("config", "--json"), mesh("config")

    assert as_json.status == as_text.status == 0
    assert "MESH_KAFKA_USERNAME=alice\n" in as_text.stdout
    assert "s3cret" not in as_json.stdout + as_text.stdout + as_text.stderr


def test_a_mesh_of_this_machine_is_plain(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its broker has neither TLS nor users, whatever the environment says of another one."""
    monkeypatch.setenv("MESH_KAFKA_SECURITY", "ssl")

    assert find_mesh().settings.kafka.options()["security_protocol"] == "PLAINTEXT"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://me:pw@h:6379/0", "redis://me:***@h:6379/0"),
        ("rediss://:p%40w@h/1", "rediss://:***@h/1"),
        ("unix:///run/redis.sock?db=1&password=pw", "unix:///run/redis.sock?***"),
        ("https://otlp.example.org/v1?key=pw", "https://otlp.example.org/v1?***"),
        ("file:///data/blobs", "file:///data/blobs"),
    ],
)
def test_urls_without_passwords(url: str, shown: str) -> None:
    """Whatever may be secret in an address is hidden, the rest stays."""
    assert without_password(url) == shown
