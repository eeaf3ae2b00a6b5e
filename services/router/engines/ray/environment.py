"""The environment of processes that use Ray: the token, and settings that keep all files in the data directory."""

from __future__ import annotations

import os

from eldermesh.launch import own_modules_first
from shared.ray_head import ray_dir
from shared.settings import Settings

_USERS_HOME = "ELDERMESH_USERS_HOME"
_LOG_BYTES = 10 * 1024 * 1024
_KEPT_LOGS = 2


def ray_environment(settings: Settings) -> dict[str, str]:
    """Variables for a process of Ray, or one that connects to it. Its home is in the data directory."""
    home = ray_dir(settings) / "home"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    variables = {
        "HOME": str(home),
        _USERS_HOME: os.environ.get("HOME", str(home)),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray's default for workers is nice 15, with which Celery on the same machine starves them.
        "RAY_worker_niceness": "0",
        # A node that stops would wait 30 s for detached actors, which do not end then.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_ROTATION_MAX_BYTES": str(_LOG_BYTES),
        "RAY_ROTATION_BACKUP_COUNT": str(_KEPT_LOGS),
    }
    if settings.ray_auth_token is not None:
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": settings.ray_auth_token.get_secret_value()}
    return variables


def become_runner(environment: dict[str, str]) -> Settings:
    """In a process of Ray: replace its settings by the router's, and restore the user's home for user code."""
    own_modules_first()  # plug-ins on the user's path are found, too
    for name in [name for name in os.environ if name.startswith("MESH_")]:
        del os.environ[name]
    os.environ.update(environment)
    if _USERS_HOME in os.environ:
        os.environ["HOME"] = os.environ.pop(_USERS_HOME)
    return Settings(_env_file=None)
