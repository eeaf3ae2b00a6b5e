"""Flower with a log-in: a real one, on a real Redis."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr

from eldermesh.launch import python_command
from eldermesh_cli.stack.processes.child import OwnedProcess
from eldermesh_cli.stack.servers.free_ports import free_port
from shared.settings import Settings
from tests.waiting import wait_until

PASSWORD = "a, b: c"
FLOWER = "services.router.engines.celery.flower"


@pytest.fixture
def settings(redis_server: str, tmp_path: Path) -> Settings:
    """Settings for Flower."""
    return Settings(data_dir=tmp_path, redis_url=SecretStr(redis_server), topic_prefix="flower.", _env_file=None)


def flower(settings: Settings, login_file: Path, port: int) -> OwnedProcess:
    """Flower, not started."""
    return OwnedProcess(
        list(python_command(FLOWER, "--port", str(port), "--login-file", str(login_file))),
        log_path=settings.data_dir / "flower.log",
        env=os.environ | settings.environment(),
    )


@pytest.fixture
async def served(settings: Settings, tmp_path: Path) -> AsyncIterator[tuple[OwnedProcess, httpx.AsyncClient]]:
    """Flower with a log-in, and a client without one."""
    login_file, port = tmp_path / "login", free_port()
    login_file.write_text(f"ops:{PASSWORD}\n", "utf-8")
    process = flower(settings, login_file, port)
    process.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

            async def answers() -> bool:
                assert process.poll() is None, (settings.data_dir / "flower.log").read_text("utf-8")
                try:
                    return (await client.get("/healthcheck")).status_code == 200
                except httpx.TransportError:
                    return False

            await wait_until(answers, description="Flower answers")
            yield process, client
    finally:
        await process.stop(20)


async def test_only_who_knows_the_password_sees_it(served: tuple[OwnedProcess, httpx.AsyncClient]) -> None:
    """Its pages ask for it; commas and colons may be in it; nobody else on the machine can read it from the process."""
    process, client = served
    for page in ("/workers", "/tasks", "/api/workers"):
        refused = await client.get(page)
        assert refused.status_code == 401, page
        assert (await client.get(page, auth=("ops", "a"))).status_code == 401
        assert (await client.get(page, auth=("ops", PASSWORD))).status_code == 200
    assert "Basic" in (await client.get("/workers")).headers["WWW-Authenticate"]
    assert process.pid is not None
    seen = psutil.Process(process.pid)
    for each in (seen, *seen.children(recursive=True)):
        assert not [word for word in (*each.cmdline(), *each.environ().values()) if PASSWORD in word]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "needs one line: user:password"),
        ("ops", "needs one line: user:password"),
        (":password", "needs one line: user:password"),
        ("ops:one\nops:two", "needs one line: user:password"),
        ("ops:pässword", "not ASCII"),
    ],
)
async def test_a_login_file_that_is_none(content: str | None, told: str, settings: Settings, tmp_path: Path) -> None:
    """Status 2 and a line that says what is wrong; it never serves without the log-in."""
    if content is not None:
        (tmp_path / "login").write_text(content, "utf-8")
    process = flower(settings, tmp_path / "login", free_port())
    process.start()
    await wait_until(lambda: process.poll() is not None, description="it has ended")
    assert process.poll() == 2
    assert told in (tmp_path / "flower.log").read_text("utf-8")
