"""Whether the Ray node of this machine would run chunks."""

from __future__ import annotations

from services.router.engines.ray.node import raylet_socket
from shared.ray_head import head_address, reach_head
from shared.settings import Settings

_CONNECT_SECONDS = 2.0


async def ray_trouble(settings: Settings) -> str | None:
    """Why no chunk would run on Ray: the head does not listen, or the node of this machine has not started."""
    if settings.ray_address is None:
        return "MESH_RAY_ADDRESS is not set"
    try:
        await reach_head(*head_address(settings), seconds=_CONNECT_SECONDS)
    except OSError as error:  # TimeoutError is one
        return f"the head does not answer: {error!r}"
    return "the Ray node of this machine has not started" if raylet_socket(settings) is None else None
