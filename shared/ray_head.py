"""The head of the Ray cluster: its address, and the files in which the router and whoever starts the head agree."""

from __future__ import annotations

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
