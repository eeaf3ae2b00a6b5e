"""The embedded mesh: which services `mesh up` runs, where they listen, and when they are ready."""

from __future__ import annotations

from dataclasses import dataclass, replace

import httpx
from pydantic import SecretStr

from eldermesh.launch import python_command
from eldermesh_cli.stack.errors import NotReadyError
from eldermesh_cli.stack.runtime_file import Addresses
from eldermesh_cli.stack.servers.broker import BROKER_NAME, broker_service
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, kept_ports
from eldermesh_cli.stack.servers.mesh_services import (
    TELEMETRY_NAME,
    claude_exec_service,
    notifier_service,
    router_service,
    sages_service,
    worker_service,
)
from eldermesh_cli.stack.servers.ray import RAY_NAME, new_token, ray_service
from eldermesh_cli.stack.servers.redis import REDIS_NAME, redis_service, redis_url
from eldermesh_cli.stack.service import ServiceSpec
from shared.http_client import http_client
from shared.kafka.topic_admin import apply_topics
from shared.settings import UNSECURED, Settings

CLAUDE_NAME = "claude"
"""The loopback endpoint that answers Claude CLIs where no credentials are set."""

_PORTS_NAME = "ports.json"
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class EmbeddedMesh:
    """The settings of an embedded mesh, and what follows from them."""

    settings: Settings
    addresses: Addresses
    services: tuple[ServiceSpec, ...]


def embedded_mesh(base: Settings) -> EmbeddedMesh:
    """An embedded mesh in the data directory of `base`, on free ports of the loopback interface, if need be new ones.

    Addresses in `base` are not used, but `otlp_endpoint` and `otlp_metrics_endpoint`: what the mesh receives is
    forwarded there, and `anthropic_base_url`. Without the latter and without a key, prompts are answered by an endpoint
    of the mesh's own.
    Call it only while holding the data directory.
    """
    data_dir = base.data_dir.resolve()
    ports = kept_ports(data_dir / _PORTS_NAME, (BROKER_NAME, REDIS_NAME, TELEMETRY_NAME, CLAUDE_NAME, RAY_NAME))
    broker_port, redis_port, telemetry_port = ports[BROKER_NAME], ports[REDIS_NAME], ports[TELEMETRY_NAME]
    telemetry_url = f"http://{LOOPBACK}:{telemetry_port}"
    lacks_claude = base.anthropic_base_url is None and base.anthropic_api_key is None
    claude_url = f"http://{LOOPBACK}:{ports[CLAUDE_NAME]}" if lacks_claude else None
    # A shell that was told of this mesh, by `mesh env`, has the mesh's own endpoint in its environment.
    forward_url = None if base.otlp_endpoint == telemetry_url else base.otlp_endpoint
    # Made anew, not copied: what a copy has derived from its former values would stay.
    settings = Settings(
        **base.model_dump()
        | UNSECURED
        | {
            "kafka_bootstrap": f"{LOOPBACK}:{broker_port}",
            "broker_profile": "embedded",
            "redis_url": SecretStr(redis_url(redis_port)),
            "data_dir": data_dir,
            "heartbeat_file": None,  # each of the services would write it
            "otlp_endpoint": telemetry_url,
            "otlp_metrics_endpoint": None,
            "anthropic_base_url": claude_url or base.anthropic_base_url,
            "trace_query_url": base.trace_query_url or telemetry_url,
            "ray_address": f"{LOOPBACK}:{ports[RAY_NAME]}",
            "ray_auth_token": new_token(),
            "ray_join": False,
            "ray_on_demand": True,
        }
    )
    addresses = Addresses(
        kafka_bootstrap=settings.kafka_bootstrap,
        redis_url=redis_url(redis_port),
        otlp_endpoint=telemetry_url,
        span_store_url=telemetry_url,
        topic_prefix=settings.topic_prefix,
        broker_profile=settings.broker_profile,
        partitions=settings.partition_count,
        trace_query_url=settings.trace_query_url,
        blob_url=settings.blobs,
        claude_endpoint=claude_url,
        ray_address=settings.ray_address,
    )

    async def create_topics() -> None:
        await apply_topics(settings)

    services = (
        ServiceSpec(
            name=TELEMETRY_NAME,
            command=python_command(
                "eldermesh_cli.stack.telemetry.receiver",
                *("--port", str(telemetry_port), "--db", str(data_dir / "spans.sqlite")),
            ),
            env=settings.environment()
            | {
                "MESH_OTLP_ENDPOINT": forward_url or "",
                "MESH_OTLP_METRICS_ENDPOINT": base.otlp_metrics_endpoint or "",
            },
            ready=lambda: _answers(f"{telemetry_url}/healthz"),
            stop_grace_seconds=10.0,
        ),
        replace(broker_service(data_dir, broker_port), prepare=create_topics),
        redis_service(data_dir, redis_port, append_only=True),
        router_service(settings),
        worker_service(settings),
        claude_exec_service(settings),
        sages_service(settings),
        notifier_service(settings),
        ray_service(settings, depends_on=(BROKER_NAME, REDIS_NAME), outlived_by=(TELEMETRY_NAME,)),
        *((_claude_endpoint_service(ports[CLAUDE_NAME], claude_url),) if claude_url else ()),
    )
    return EmbeddedMesh(settings, addresses, services)


def _claude_endpoint_service(port: int, url: str) -> ServiceSpec:
    return ServiceSpec(
        name=CLAUDE_NAME,
        command=python_command("services.claude_exec.loopback", "--port", str(port)),
        ready=lambda: _answers(f"{url}/healthz"),
        stop_grace_seconds=10.0,
    )


async def _answers(url: str) -> None:
    try:
        async with http_client(url, timeout_seconds=_ANSWER_SECONDS) as client:
            response = await client.get(url)
    except httpx.HTTPError as error:
        raise NotReadyError(f"no answer from {url}: {error!r}") from error
    if response.status_code != httpx.codes.OK:
        raise NotReadyError(f"{url} answers {response.status_code}")
