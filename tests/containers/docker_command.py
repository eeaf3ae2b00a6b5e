"""The docker command: whether it can be used here, and what it says."""

from __future__ import annotations

import shutil
import subprocess

_COMMAND_SECONDS = 120.0
_ASK_SECONDS = 20.0


def docker(*arguments: str, seconds: float = _COMMAND_SECONDS) -> str:
    """What a docker command wrote; fails, with what it complained of, if it did not succeed."""
    run = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=seconds, check=False)
    assert run.returncode == 0, f"docker {' '.join(arguments)}: {run.stderr}"
    return run.stdout


def docker_missing() -> str | None:
    """Why no container can be started here; None if some can."""
    if shutil.which("docker") is None:
        return "no Docker: install Docker Engine with its Compose plug-in, or see scripts/docker_engine.sh"
    for arguments, hint in (
        (("version",), "no Docker engine answers: start it, or see scripts/docker_engine.sh"),
        (("compose", "version"), "docker has no Compose here: install its plug-in, or see scripts/fetch_compose.sh"),
    ):
        if subprocess.run(["docker", *arguments], capture_output=True, timeout=_ASK_SECONDS, check=False).returncode:
            return hint
    return None
