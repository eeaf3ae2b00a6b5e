"""compose.yaml as a project of its own, on free ports, with two of each service."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from testcontainers.compose import DockerCompose

from eldermesh_cli.stack.servers.free_ports import free_port
from tests.containers.docker_command import docker
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CLAUDE_ENDPOINT = "http://claude-endpoint:8399"

_HEALTHY_SECONDS = 180.0


class ComposeMesh:
    """The mesh of compose.yaml and replicas.yaml; `start` builds its images where they are missing or old."""

    def __init__(self, directory: Path) -> None:
        self.project = f"mesh-test-{uuid.uuid4().hex[:8]}"
        ports = {name: free_port() for name in ("KAFKA", "REDIS", "JAEGER", "FLOWER", "REDIS_COMMANDER")}
        self.bootstrap = f"localhost:{ports['KAFKA']}"
        self.jaeger_url = f"http://localhost:{ports['JAEGER']}"
        self.flower_url = f"http://localhost:{ports['FLOWER']}"
        self.redis_commander_url = f"http://localhost:{ports['REDIS_COMMANDER']}"
        key_file = directory / "anthropic_api_key"
        key_file.write_text("any", encoding="utf-8")
        variables = {
            "COMPOSE_PROJECT_NAME": self.project,
            "MESH_ANTHROPIC_BASE_URL": CLAUDE_ENDPOINT,
            "MESH_ANTHROPIC_API_KEY_FILE": str(key_file),
            "MESH_PYTHON_FUNCTIONS": "math:*,time:sleep",
            **{f"MESH_{name}_PORT": str(port) for name, port in ports.items()},
        }
        env_file = directory / "compose.env"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()), encoding="utf-8")
        self.compose = DockerCompose(
            context=ROOT,
            compose_file_name=["compose.yaml", "tests/containers/replicas.yaml"],
            env_file=str(env_file),
            profiles=["test", "debug"],
            build=True,
        )

    def run(self, *arguments: str, seconds: float = 300.0) -> str:
        """A command of compose on this project."""
        return docker(*self.compose.docker_compose_command()[1:], *arguments, seconds=seconds)

    def mesh(self, *arguments: str) -> Any:
        """What a verb of the command `mesh` answers, run in a container of its own."""
        return json.loads(self.run("run", "--rm", "--no-TTY", "mesh", *arguments, "--json"))

    def containers(self, service: str) -> list[str]:
        """The ids of a service's running containers, the oldest first."""
        return sorted(self.run("ps", "--quiet", service).split())

    async def healthy(self, *services: str) -> None:
        """Wait until all containers of these services are healthy."""
        await wait_until(
            lambda: not self._unhealthy(*services),
            description=f"containers of {', '.join(services)} are healthy",
            timeout_seconds=_HEALTHY_SECONDS,
            interval_seconds=1.0,
        )

    def scale(self, counts: dict[str, int]) -> None:
        """Start or stop containers of these services, and let all others be."""
        volumes = self._volumes(*counts)
        scales = [f"--scale={service}={count}" for service, count in counts.items()]
        self.run("up", "--detach", "--no-deps", "--no-recreate", "--no-build", *scales, *counts)
        # Compose leaves the unnamed volumes of containers that it removes.
        for volume in volumes - self._volumes(*counts):
            docker("volume", "rm", volume)

    def _volumes(self, *services: str) -> set[str]:
        names = "{{range .Mounts}}{{.Name}} {{end}}"
        return set(docker("inspect", "--format", names, *self.run("ps", "--all", "--quiet", *services).split()).split())

    def _unhealthy(self, *services: str) -> list[str]:
        rows = [json.loads(line) for line in self.run("ps", "--all", "--format", "json", *services).splitlines()]
        return [f"{row['Name']}: {row['State']}, {row['Health']}" for row in rows if row["Health"] != "healthy"]

    def left(self) -> list[str]:
        """Containers, networks and volumes that exist of this project."""
        label = f"label=com.docker.compose.project={self.project}"
        return [
            line
            for kind in (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
            for line in docker(*kind, "--quiet", "--filter", label).split()
        ]
