"""Each service as `faststream run` runs it: it becomes ready, and stops in order when it is told to."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr

from eldermesh_cli.stack.processes.child import OwnedProcess
from shared.health.parts import CLAUDE_EXEC, NOTIFIER, ROUTER, SAGES
from shared.settings import Settings
from tests.fresh_topics import fresh_topics
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("service", "trouble"),
    [
        ("router", ROUTER.trouble),
        ("claude_exec", CLAUDE_EXEC.trouble),
        ("sages", SAGES.trouble),
        ("notifier", NOTIFIER.trouble),
    ],
)
async def test_faststream_runs_it(
    service: str,
    trouble: Callable[[Settings], Awaitable[str | None]],
    embedded_broker: str,
    redis_server: str,
    tmp_path: Path,
) -> None:
    """With the health check, the log and the exit status of `python -m`."""
    overrides = {"data_dir": tmp_path, "redis_url": SecretStr(redis_server)}
    log = tmp_path / "service.log"
    async with fresh_topics(embedded_broker, "embedded", **overrides) as settings:
        process = OwnedProcess(
            [sys.executable, "-m", "faststream", "run", f"services.{service}.app:app"],
            log_path=log,
            env=os.environ | settings.environment(),
        )

        async def ready() -> bool:
            assert process.poll() is None, log.read_text("utf-8")
            return await trouble(settings) is None

        process.start()
        try:
            await wait_until(ready, description=f"{service} is ready", interval_seconds=0.1)
        finally:
            await process.stop(30)
    assert process.poll() == 0, log.read_text("utf-8")
    events = [orjson.loads(line)["event"] for line in log.read_text("utf-8").splitlines()]
    assert f"{service} started" in events
    assert events[-1] == f"{service} stopped"
