"""How clients log in to Kafka: what is half given is refused at the start, by the name of the setting."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr

from eldermesh.kafka.access import KafkaAccess, KafkaSecurity, KafkaSecurityError
from eldermesh_cli.stack.embedded_mesh import embedded_mesh
from shared.errors import ConfigurationError
from shared.settings import Settings

LOGIN = {"sasl_mechanism": "PLAIN", "username": "alice", "password": "s3cret"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A CA, a client certificate and its key, and what is none of them."""
    authority = trustme.CA()
    client, other = authority.issue_cert("client"), authority.issue_cert("other")
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "certificate", "key", "other_key", "locked_key", "text")}
    authority.cert_pem.write_to_path(paths["ca"])
    client.cert_chain_pems[0].write_to_path(paths["certificate"])
    client.private_key_pem.write_to_path(paths["key"])
    other.private_key_pem.write_to_path(paths["other_key"])
    private = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)
    locked = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    paths["locked_key"].write_bytes(locked)
    paths["text"].write_text("no certificate", encoding="utf-8")
    return paths


def _settings(**values: object) -> Settings:
    return Settings.of_environment(_env_file=None, **{f"kafka_{name}": value for name, value in values.items()})


def test_without_settings_it_is_plain() -> None:
    """Clients get an address, no TLS and no user."""
    assert _settings().kafka.options() == {
        "bootstrap_servers": "127.0.0.1:9092",
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }


def test_a_user_over_tls(files: dict[str, Path]) -> None:
    """The context checks certificates and names; it is made once."""
    kafka = _settings(
        security="sasl_ssl", ca=files["ca"], certificate=files["certificate"], key=files["key"], **LOGIN
    ).kafka

    options = kafka.options()

    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_mechanism"] == "PLAIN"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("alice", "s3cret")
    context = options["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert [each["subject"] for each in context.get_ca_certs()]
    assert kafka.options()["ssl_context"] is context


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"security": "sasl_ssl", "sasl_mechanism": "PLAIN", "username": "alice"},
            "MESH_KAFKA_PASSWORD: sasl_ssl needs",
        ),
        ({"security": "sasl_ssl", "sasl_mechanism": "PLAIN", "password": "pw"}, "MESH_KAFKA_USERNAME: sasl_ssl needs"),
        (
            {"security": "sasl_plaintext", "username": "alice", "password": "pw"},
            "MESH_KAFKA_SASL_MECHANISM: .* needs it",
        ),
        (LOGIN, "MESH_KAFKA_SASL_MECHANISM: plaintext logs in no user"),
        ({"security": "ssl", "password": "pw"}, "MESH_KAFKA_PASSWORD: ssl logs in no user"),
        ({"ca": "ca"}, "MESH_KAFKA_CA: plaintext uses no TLS"),
        ({"security": "ssl", "certificate": "certificate"}, "MESH_KAFKA_KEY: a certificate needs its key"),
        ({"security": "ssl", "key": "key"}, "MESH_KAFKA_CERTIFICATE: a key needs its certificate"),
        ({"security": "ssl", "ca": "missing"}, "MESH_KAFKA_CA: there is no file .*missing"),
        ({"security": "ssl", "ca": "text"}, "MESH_KAFKA_CA: .*text.pem holds no certificate"),
        ({"security": "ssl", "certificate": "certificate", "key": "other_key"}, "MESH_KAFKA_KEY: .* is not that of"),
        ({"security": "ssl", "certificate": "certificate", "key": "locked_key"}, "MESH_KAFKA_KEY: .* is encrypted"),
        ({"security": "ssl", "certificate": "text", "key": "key"}, "MESH_KAFKA_CERTIFICATE: .* not both in PEM"),
        ({"security": "tls"}, "MESH_KAFKA_SECURITY: "),
    ],
)
def test_what_does_not_fit_is_refused(files: dict[str, Path], values: dict[str, str], message: str) -> None:
    """One sentence with the name of the setting, and no secret."""
    given = {
        name: files.get(value, value) if name in {"ca", "certificate", "key"} else value
        for name, value in values.items()
    }

    with pytest.raises(ConfigurationError, match=message) as raised:
        _settings(**given)

    assert "s3cret" not in str(raised.value)


def test_users_of_the_library_are_told_the_field() -> None:
    """They have no settings."""
    with pytest.raises(KafkaSecurityError, match="password: sasl_ssl needs it"):
        KafkaSecurity("sasl_ssl", sasl_mechanism="PLAIN", username="alice")
    with pytest.raises(KafkaSecurityError, match="protocol: it is one of plaintext, ssl"):
        KafkaSecurity("tls")  # type: ignore[arg-type]  # the mistake


def test_no_password_is_in_logs() -> None:
    """Whoever logs one of these objects shows a user and no password."""
    security = KafkaSecurity("sasl_plaintext", sasl_mechanism="PLAIN", username="alice", password=SecretStr("s3cret"))

    shown = repr(KafkaAccess("h:1", security)) + repr(_settings(security="sasl_plaintext", **LOGIN))

    assert "alice" in shown
    assert "s3cret" not in shown


def test_children_get_the_login_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a parent does not have is empty in the child's environment, which may inherit more."""
    settings = _settings(security="sasl_plaintext", **LOGIN)
    environment = settings.environment()

    assert environment["MESH_KAFKA_PASSWORD"] == "s3cret"
    assert environment["MESH_KAFKA_CA"] == ""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings.of_environment(_env_file=None).kafka.options() == settings.kafka.options()


def test_an_embedded_mesh_is_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that knows a secured Kafka can start a mesh on this machine, whose broker has no TLS."""
    base = _settings(security="sasl_plaintext", **LOGIN).model_dump() | {"heartbeat_file": tmp_path / "heartbeat"}

    made = embedded_mesh(Settings(**(base | {"data_dir": tmp_path})))

    assert made.settings.kafka.options()["security_protocol"] == "PLAINTEXT"
    assert made.settings.heartbeat_file is None


def test_no_password_of_a_collector_is_an_argument(tmp_path: Path) -> None:
    """Any account sees the arguments of a process; its environment only its own."""
    base = _settings().model_dump() | {
        "data_dir": tmp_path,
        "otlp_endpoint": "http://me:s3cret@collector.example:4318",
        "otlp_metrics_endpoint": "http://me:s3cret@prometheus.example:9090/api/v1/otlp",
    }

    services = {service.name: service for service in embedded_mesh(Settings(**base)).services}

    assert "s3cret" not in " ".join(part for service in services.values() for part in service.command)
    assert services["telemetry"].env["MESH_OTLP_ENDPOINT"] == base["otlp_endpoint"]
    assert services["telemetry"].env["MESH_OTLP_METRICS_ENDPOINT"] == base["otlp_metrics_endpoint"]
    assert services["router"].env["MESH_OTLP_ENDPOINT"].startswith("http://127.0.0.1:")


def test_copied_settings_derive_anew() -> None:
    """The access of a copy is that of the copy's own broker, also where the original's was used before."""
    first = Settings(kafka_bootstrap="first:9092", _env_file=None)
    assert first.kafka.bootstrap == "first:9092"
    assert first.model_copy(update={"kafka_bootstrap": "second:9092"}).kafka.bootstrap == "second:9092"
    assert first.kafka.bootstrap == "first:9092"
