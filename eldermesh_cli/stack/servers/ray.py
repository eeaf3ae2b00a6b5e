"""The embedded Ray head: a service that is started once a job is routed to Ray, and then stays."""

from __future__ import annotations

import secrets
from pathlib import Path

from pydantic import SecretStr

from eldermesh.launch import python_command
from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.servers.embedded_server import EmbeddedServer
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from eldermesh_cli.stack.service import Service, ServiceSpec
from services.router.engines.ray.health import ray_trouble
from shared.ray_head import head_address, trouble_file, wanted_file
from shared.settings import Settings

RAY_NAME = "ray"


def new_token() -> SecretStr:
    """A token for one life of a cluster: Ray listens on all interfaces, whatever address it is given."""
    return SecretStr(secrets.token_hex(32))


def ray_service(
    settings: Settings, *, depends_on: tuple[str, ...] = (), outlived_by: tuple[str, ...] = ()
) -> ServiceSpec:
    """The head as a service at the address that `settings` name, with as many CPUs as there are slots.

    Everything of it lies under the leash of the service, sessions and groups of its own notwithstanding. It stops
    within seconds, and takes its runners with it.
    """
    _, port = head_address(settings)
    for left in (wanted_file(settings), trouble_file(settings)):  # by an earlier mesh
        left.unlink(missing_ok=True)
    return ServiceSpec(
        name=RAY_NAME,
        command=python_command(
            "services.router.engines.ray.node", "head", "--port", str(port), "--num-cpus", str(settings.ray_runners)
        ),
        env=settings.environment(),
        wanted=(lambda: _is_wanted(settings)) if settings.ray_on_demand else None,
        ready=lambda: ray_listens(settings),
        depends_on=depends_on,
        outlived_by=outlived_by,
        stop_grace_seconds=15.0,
    )


async def _is_wanted(settings: Settings) -> None:
    if not wanted_file(settings).exists():
        raise NotReadyError("no job was routed to Ray")


async def ray_listens(settings: Settings) -> None:
    """Return if the head of this data directory listens and its node is there.

    Raises:
        NotReadyError: it does not.
    """
    if (trouble := await ray_trouble(settings)) is not None:
        raise NotReadyError(trouble)


class EmbeddedRay(EmbeddedServer):
    """A head of its own, for one test or one program: `settings` tell a router how to reach it."""

    def __init__(self, data_dir: Path, *, cpus: int = 2) -> None:
        self.address = f"{LOOPBACK}:{free_port()}"
        self.token = new_token()
        settings = Settings(
            data_dir=data_dir,
            ray_address=self.address,
            ray_auth_token=self.token,
            ray_max_runners=cpus,
            _env_file=None,
        )
        self.service = Service(ray_service(settings), log_dir=data_dir / "logs")
