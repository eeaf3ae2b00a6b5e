"""The services as FastStream applications: documented, and how a process of each ends, started either way."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.consumer.inbox import InboxConsumer
from shared.errors import RetryableError, StopServiceError
from shared.kafka.clients import make_producer
from shared.processes.service_application import service_application
from shared.processes.service_process import Part
from shared.settings import Settings
from tests.unit.test_serving import PlayedPart

FASTSTREAM = (sys.executable, "-m", "faststream")
BOTH_WAYS = pytest.mark.parametrize("way", ["python -m", "faststream run"])


def _ended(command: Sequence[str], directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MESH_", "OTEL_"))}
    return subprocess.run(
        command,
        cwd=directory,
        env=inherited | {"MESH_DATA_DIR": str(directory)} | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _command(way: str, service: str) -> tuple[str, ...]:
    module = f"services.{service}"
    return (sys.executable, "-m", module) if way == "python -m" else (*FASTSTREAM, "run", f"{module}.app:app")


@pytest.mark.parametrize(
    ("service", "groups", "payloads"),
    [
        (
            "router",
            {"here.jobs": "eldermesh.admission", "here.jobs.decisions": "eldermesh.admission.decisions"},
            {"JobSubmit", "JobCancel", "JobDecide"},
        ),
        ("claude_exec", {"here.claude.requests": "eldermesh.claude_exec.admission"}, {"ClaudeRequest", "ClaudeCancel"}),
        ("sages", {"here.jobs.history": "eldermesh.sages"}, {"JobAccepted"}),
        (
            "notifier",
            {"here.jobs.done": "eldermesh.notifier.ends", "here.jobs.holds": "eldermesh.notifier.holds"},
            {"JobEnd", "JobHold"},
        ),
    ],
)
def test_faststream_documents_each_service(
    service: str, groups: dict[str, str], payloads: set[str], tmp_path: Path
) -> None:
    """`faststream docs gen`: topics, consumer groups and payload types, without a broker."""
    command = (*FASTSTREAM, "docs", "gen", f"services.{service}.app:app")
    ran = _ended(command, tmp_path, MESH_TOPIC_PREFIX="here.")
    assert ran.returncode == 0, ran.stderr
    document = json.loads((tmp_path / "asyncapi.json").read_bytes())
    assert document["info"]["title"] == f"ElderMesh {service}"
    told = {each["address"]: each["description"] for each in document["channels"].values()}
    assert told.keys() == groups.keys()
    for topic, group in groups.items():
        assert told[topic].endswith(f"Consumer group: here.{group}")
    assert payloads <= document["components"]["schemas"].keys()


@BOTH_WAYS
def test_wrong_settings_end_it_with_2(way: str, tmp_path: Path) -> None:
    """And a line that says which."""
    ran = _ended(_command(way, "router"), tmp_path, MESH_PARTITIONS="many")
    assert ran.returncode == 2
    assert ran.stderr.startswith("eldermesh-router does not start: ")
    assert "MESH_PARTITIONS" in ran.stderr


@BOTH_WAYS
def test_a_start_that_fails_ends_it_with_1(way: str, tmp_path: Path) -> None:
    """And the last line of its log says why; all lines are the service's own."""
    ran = _ended(_command(way, "sages"), tmp_path, MESH_KAFKA_BOOTSTRAP="127.0.0.1:9")
    assert ran.returncode == 1
    line = [json.loads(each) for each in (ran.stdout + ran.stderr).splitlines()][-1]
    assert (line["event"], line["service"]) == ("service failed", "eldermesh-sages")
    assert "the incarnation could not be read" in line["reason"]


@BOTH_WAYS
def test_rules_that_are_wrong_end_it_with_1(way: str, tmp_path: Path) -> None:
    """The notifier does not run with half of its rules."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{}]")
    ran = _ended(_command(way, "notifier"), tmp_path, MESH_NOTIFY_RULES=str(rules))
    assert ran.returncode == 1
    (line,) = [json.loads(each) for each in (ran.stdout + ran.stderr).splitlines()]
    assert line["event"] == "service failed"
    assert "rules[0].name: required" in line["reason"]


class _Service:
    """One with a part that fails when it is told to; notes what happens to it."""

    def __init__(self) -> None:
        settings = Settings(kafka_bootstrap="127.0.0.1:9", broker_profile="embedded", _env_file=None)
        self.noted: list[str] = []
        self.part = PlayedPart()
        self.inbox = InboxConsumer(settings, [], make_producer(settings))
        self.app = service_application("played", self.inbox, self._running)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[Sequence[Part]]:
        self.noted.append("started")
        try:
            yield [self.part]
        finally:
            self.noted.append("stopped")


async def test_told_to_exit_it_stops_in_order() -> None:
    """Its inbox before the rest, and `run` returns."""
    service = _Service()
    running = asyncio.ensure_future(service.app.run())
    service.app.exit()
    await running
    assert service.noted == ["started", "stopped"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_part_that_fails_ends_it_with_its_reason() -> None:
    """With the failure as the cause, as the log shows it."""
    service = _Service()
    service.part.failing.set_result(RetryableError("the reason"))
    with pytest.raises(StopServiceError, match="the reason") as raised:
        await service.app.run()
    assert isinstance(raised.value.__cause__, RetryableError)
    assert service.noted == ["started", "stopped"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_drain_that_fails_does_not_hide_why_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The part's failure is raised, and what went wrong meanwhile stands behind it."""
    service = _Service()
    service.part.failing.set_result(RetryableError("the reason"))

    async def stop() -> None:
        raise TimeoutError("a handler does not end")

    monkeypatch.setattr(service.inbox, "stop", stop)
    with pytest.raises(StopServiceError, match="the reason"):
        await service.app.run()
    assert service.noted == ["started", "stopped"]
    assert asyncio.all_tasks() == {asyncio.current_task()}
