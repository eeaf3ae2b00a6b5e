"""compose.yaml, the Dockerfile and the locks of the images keep their rules; no container is started."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.secret_files import is_secret
from shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ROLES = ("mesh", "service", "ray", "claude")
ENDS_BY_ITSELF = {"logins", "topics", "mesh"}
"""One-shot commands: there is no time in which they could be healthy."""


def _default(value: object) -> str:
    """What compose makes of it when no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


def _own() -> dict[str, dict[str, Any]]:
    """The services of images of our own."""
    return {name: each for name, each in SERVICES.items() if _default(each["image"]).startswith("eldermesh/")}


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_hardened(name: str) -> None:
    """Not root, nothing to write but volumes, no capabilities, no new privileges, thirty seconds to stop."""
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["stop_grace_period"] == "30s"


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ENDS_BY_ITSELF))
def test_service_has_a_healthcheck(name: str) -> None:
    """With a limit on its time; and whoever goes on for ever is started again."""
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["healthcheck"]["timeout"]
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_image_has_a_version(name: str) -> None:
    """`latest` would be another mesh tomorrow; a registry's name would be somebody else's registry."""
    image = _default(SERVICES[name]["image"])
    repository, _, tag = image.rpartition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), image
    assert "." not in repository.partition("/")[0]


@pytest.mark.parametrize("name", SERVICES)
def test_published_on_loopback_alone(name: str) -> None:
    """Nothing in there asks for a password."""
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_settings_exist() -> None:
    """Each `MESH_*` of the services is a setting, with a value that it takes; secrets are named by their files."""
    fields = {f"MESH_{name.upper()}": name for name in Settings.model_fields}
    secrets = {f"MESH_{name.upper()}_FILE" for name, field in Settings.model_fields.items() if is_secret(field)}
    own = [service for service in _own().values() if "environment" in service]
    assert len(own) >= 10
    for service in own:
        environment = service["environment"]
        values = {key: _default(value) for key, value in environment.items() if key.startswith("MESH_")}
        assert set(values) - secrets <= set(fields)
        Settings.model_validate({fields[key]: value for key, value in values.items() if key not in secrets})


def test_no_password_is_written_down() -> None:
    """Neither in the file, where everybody reads it, nor as a variable, which `docker inspect` shows."""
    for name, service in SERVICES.items():
        named = {key for key, value in service.get("environment", {}).items() if value}
        assert not {key for key in named if re.search("PASSWORD|TOKEN|SECRET|API_KEY|LOGIN|AUTH$", key)} - {
            key for key in named if key.endswith("_FILE")
        }, name
    for secret in COMPOSE["secrets"].values():
        assert _default(secret["file"]) == "./secrets/none"
    assert (ROOT / "secrets" / "none").read_bytes() == b""


def test_each_sees_its_own_passwords() -> None:
    """What a service names as a file is mounted there, to be read only, and nothing else is."""
    for name, service in SERVICES.items():
        if name == "logins":
            continue
        files = {value for value in service.get("environment", {}).values() if str(value).startswith("/run/")}
        words = " ".join(map(str, service.get("command", ()))).split()
        files |= {word for word in words if word.startswith("/run/")}
        mounts = [volume.split(":") for volume in service.get("volumes", ()) if ":/run/" in volume]
        assert all(options == ["ro"] for _, _, *options in mounts), name
        places = {place for _, place, *_ in mounts} | {f"/run/secrets/{each}" for each in service.get("secrets", ())}
        assert {file for file in files if not any(file.startswith(place) for place in places)} == set(), name
        assert {place for place in places if not any(file.startswith(place) for file in files)} == set(), name


@pytest.mark.parametrize("name", [name for name, each in SERVICES.items() if "eldermesh/claude" in str(each["image"])])
def test_prompts_do_not_read_passwords(name: str) -> None:
    """Whatever of them is mounted where prompts run is hidden from their tools."""
    service = SERVICES[name]
    hidden = list(map(Path, _default(service["environment"]["MESH_CLAUDE_HIDDEN_PATHS"]).split(",")))
    assert tuple(hidden) == Settings.model_fields["claude_hidden_paths"].default
    mounted = [Path(volume.split(":")[1]) for volume in service["volumes"] if "login" in volume]
    mounted += [Path("/run/secrets") / secret for secret in service["secrets"]]
    assert len(mounted) >= 2
    assert all(any(path.is_relative_to(each) for each in hidden) for path in mounted)


def test_passwords_are_there_before_they_are_read() -> None:
    """Whoever mounts one is started after `logins` has ended well."""

    def after_logins(name: str) -> bool:
        depends: dict[str, Any] = SERVICES[name].get("depends_on", {})
        return "logins" in depends or any(after_logins(each) for each in depends)

    readers = {name for name, service in SERVICES.items() if "/run/logins" in str(service.get("volumes", ()))}
    assert len(readers) >= 10
    assert all(after_logins(name) for name in readers - {"logins"})


def test_modules_exist() -> None:
    """What services and health checks run as `python -m eldermesh.launch` is there, and nothing is run otherwise."""
    for name, service in SERVICES.items():
        for command in (service.get("command", []), service.get("healthcheck", {}).get("test", [])):
            if "-m" in command:
                launcher, module = command[command.index("-m") + 1 :][:2]
                assert launcher == "eldermesh.launch", name
                module = module.replace(".", "/")
                assert any((ROOT / f"{module}{end}").is_file() for end in (".py", "/__main__.py")), name


def test_volumes_are_named() -> None:
    """No volume is without a name. Of the host only configuration is mounted, and that to be read."""
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    of_the_host = {volume for volume in volumes if volume.startswith(".")}
    assert {volume.partition(":")[0] for volume in volumes if volume not in of_the_host} == set(COMPOSE["volumes"])
    for volume in of_the_host:
        assert volume.startswith("./deploy/")
        assert volume.endswith(":ro")
        assert (ROOT / volume.partition(":")[0]).is_dir()


def test_drains_before_it_is_killed() -> None:
    """A service drains within `drain_seconds`; only long after that Docker would kill it."""
    drain_seconds = Settings(_env_file=None).drain_seconds
    assert all(float(service["stop_grace_period"].rstrip("s")) >= 2 * drain_seconds for service in SERVICES.values())


@pytest.mark.containers
@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker command here")
def test_docker_compose_reads_it() -> None:
    """Compose itself finds nothing wrong, with every profile."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("docker has no compose here")
    command = ["docker", "compose", "--profile", "*", "--file", str(ROOT / "compose.yaml"), "config", "--quiet"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker command here")
def test_two_lines_switch_metrics_on(tmp_path: Path) -> None:
    """Those of .env.example, without their `#`: Prometheus and Grafana start, and services send to them."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("docker has no compose here")
    example = (ROOT / ".env.example").read_text("utf-8")
    env_file = tmp_path / "env"
    env_file.write_text("\n".join(re.findall(r"^#((?:COMPOSE_PROFILES|MESH_OTLP_METRICS)=.*)$", example, re.MULTILINE)))
    files = ("--env-file", str(env_file), "--file", str(ROOT / "compose.yaml"))
    command = ["docker", "compose", *files, "config", "--format", "json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    services = json.loads(told)["services"]
    assert {"prometheus", "grafana", "router"} <= set(services)
    assert "redis-commander" not in services
    assert services["router"]["environment"]["MESH_OTLP_METRICS"] == "true"


def test_dockerfile_does_not_end_as_root() -> None:
    """Each image's stage ends as a user by number, and what it installs is checked by hash."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    stages = {
        stage.split("\n", 1)[0].rpartition(" AS ")[2]: stage for stage in re.split(r"^FROM ", text, flags=re.MULTILINE)
    }
    for role in ROLES:
        assert re.findall(r"^USER (.*)$", stages[role], flags=re.MULTILINE)[-1] == "10001:10001"
    installs = [line for line in text.splitlines() if " install --quiet" in line]
    assert len(installs) >= 2 * len(ROLES)
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def _pins(name: str) -> dict[str, list[str]]:
    """Lock entries by their first line, which names package, version and marker; the hashes of each."""
    pins: dict[str, list[str]] = {}
    entry = ""
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if line and not line.startswith((" ", "#")):
            entry = line.removesuffix(" \\")
            pins[entry] = []
        elif line.lstrip().startswith("--hash="):
            pins[entry].append(line.strip().removesuffix(" \\"))
    return pins


@pytest.mark.parametrize("role", ROLES)
def test_the_image_gets_what_was_tested(role: str) -> None:
    """Its lock is a part of requirements.lock, with the same hashes, and has all that its extra names."""
    everything, lock = _pins("requirements.lock"), _pins(f"locks/{role}.lock")
    versions = {entry.partition(" ;")[0]: hashes for entry, hashes in everything.items()}
    for entry, hashes in lock.items():
        assert hashes == versions[entry.partition(" ;")[0]]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"].get(role, ())]
    wanted = {re.split(r"[\[>=<~! ]", requirement)[0].lower() for requirement in named} - {"eldermesh"}
    assert wanted <= {entry.partition("==")[0] for entry in lock}


def test_only_the_images_that_run_prompts_hold_the_cli() -> None:
    """It takes more than everything else together."""
    assert [
        role for role in ROLES if any(entry.startswith("claude-agent-sdk==") for entry in _pins(f"locks/{role}.lock"))
    ] == ["claude"]


def test_the_images_have_the_version_of_the_project() -> None:
    """In their label, and in the names that compose builds them under."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert f'image.version="{version}"' in (ROOT / "Dockerfile").read_text("utf-8")
    built = {
        service["build"]["target"]: _default(service["image"]) for service in SERVICES.values() if "build" in service
    }
    assert built == {role: f"eldermesh/{role}:{version}" for role in ROLES}
