"""The head of the Ray cluster: its address, and the files in which the router and whoever starts the head agree."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from shared.addresses import split_host_port
from shared.settings import Settings


def ray_dir(settings: Settings) -> Path:
    """Where Ray keeps what it writes on this machine."""
    return (settings.ray_dir or settings.data_dir / "ray").absolute()


def wanted_file(settings: Settings) -> Path:
    """Written by the router when it wants a head that is started on demand."""
    return ray_dir(settings) / "wanted"


def trouble_file(settings: Settings) -> Path:
    """Holds why the router's driver does not connect, as long as it does not; for `mesh doctor`."""
    return ray_dir(settings) / "trouble"


def head_address(settings: Settings) -> tuple[str, int]:
    """Host and port of the head, which the settings have to name."""
    return split_host_port(settings.ray_address or "")


async def reach_head(host: str, port: int, *, seconds: float) -> None:
    """Return if something listens at the head's address.

    Raises:
        OSError: nothing does, or it does not answer in time.
    """
    async with asyncio.timeout(seconds):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        with contextlib.suppress(ConnectionError):  # that it listens is all that was asked
            await writer.wait_closed()
