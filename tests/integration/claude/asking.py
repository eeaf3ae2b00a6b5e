"""Requests sent to a real `claude_exec` service by a plain client, and what comes of them in public."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from eldermesh.contract.claude_output import ClaudeEnd, ClaudeOutput
from eldermesh.contract.cloudevents import CLAUDE_CANCEL, CLAUDE_OUTPUT
from eldermesh.contract.records import PublicRecord
from eldermesh_cli.stack.servers.mesh_services import claude_exec_service
from eldermesh_cli.stack.service import Service
from services.claude_exec.cli.run_directory import runs_path
from shared.kafka.topics import CLAUDE_HISTORY, CLAUDE_REQUESTS, JOBS_DEAD
from shared.kafka.topics import CLAUDE_OUTPUT as OUTPUT_TOPIC
from shared.settings import Settings
from tests.fresh_topics import Profile, fresh_topics
from tests.inboxes import Sent, publish, read_all
from tests.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Asking:
    """A service with topics of its own."""

    settings: Settings
    service: Service
    log_dir: Path

    def another(self) -> Service:
        """A second one, not started."""
        return Service(claude_exec_service(self.settings), log_dir=self.log_dir / uuid4().hex)

    async def send(self, *requests: dict[str, Any] | bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> None:
        """Publish requests (or whatever bytes)."""
        values = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in requests]
        await publish(self.settings, CLAUDE_REQUESTS, [Sent(value, headers=headers) for value in values])

    async def ask(self, prompt: str, **fields: Any) -> str:
        """Publish a request under an id of its own, and return that."""
        request_id = str(uuid4())
        await self.send({"prompt": prompt, "request_id": request_id} | fields)
        return request_id

    async def cancel(self, request_id: str, reason: str) -> None:
        """Publish a cancel."""
        headers = (("ce_type", CLAUDE_CANCEL.encode()),)
        await self.send({"request_id": request_id, "reason": reason}, headers=headers)

    async def said(self, request_id: str) -> list[PublicRecord]:
        """What `claude.output` has of a request now, in order."""
        return [each for each in await read_all(self.settings, OUTPUT_TOPIC) if each.key_text() == request_id]

    async def output(self, request_id: str) -> list[ClaudeOutput]:
        """Its live output."""
        records = await self.said(request_id)
        return [
            ClaudeOutput.model_validate_json(each.value or b"")
            for each in records
            if each.header("ce_type") == CLAUDE_OUTPUT
        ]

    async def ends(self, request_id: str) -> list[ClaudeEnd]:
        """Its ends; there must be only one, or none yet."""
        records = [each for each in await self.said(request_id) if each.header("ce_type") != CLAUDE_OUTPUT]
        assert all(each.header("ce_id") == f"{request_id}:end" for each in records)
        return [ClaudeEnd.model_validate_json(each.value or b"") for each in records]

    async def end(self, request_id: str) -> ClaudeEnd:
        """Its end, once there is one."""

        async def look() -> list[ClaudeEnd]:
            return await self.ends(request_id)

        return (
            await wait_until(look, description=f"{request_id} has ended", timeout_seconds=180, interval_seconds=0.1)
        )[0]

    async def dead(self, count: int) -> list[PublicRecord]:
        """Dead letters, once there are so many."""

        async def look() -> list[PublicRecord]:
            found = await read_all(self.settings, JOBS_DEAD)
            return found if len(found) >= count else []

        return await wait_until(look, description=f"{count} dead letters", interval_seconds=0.1)

    async def facts(self, request_id: str) -> list[str]:
        """The types of its facts, in order."""
        records = await read_all(self.settings, CLAUDE_HISTORY)
        return [each.header("ce_type") or "" for each in records if each.key_text() == request_id]

    def left_directories(self) -> list[Path]:
        """What runs left below the data directory."""
        path = runs_path(self.settings)
        return sorted(path.iterdir()) if path.exists() else []


@asynccontextmanager
async def asking(
    bootstrap: str,
    redis_url: str,
    loopback_url: str,
    directory: Path,
    *,
    profile: Profile = "embedded",
    **values: Any,
) -> AsyncIterator[Asking]:
    """A service that runs, with short leases."""
    settings_of = {
        "data_dir": directory / "data",
        "redis_url": redis_url,
        "anthropic_base_url": loopback_url,
        "lease_seconds": 5.0,
        "heartbeat_seconds": 0.5,
        "claim_timeout_seconds": 15.0,
        "drain_seconds": 1.0,
        "claude_grace_seconds": 2.0,
        "claude_slots": 2,
        "group_session_seconds": 6.0 if profile == "kafka" else None,
    } | values
    async with fresh_topics(bootstrap, profile, **settings_of) as settings:
        log_dir = directory / "logs"
        service = Service(claude_exec_service(settings), log_dir=log_dir)
        try:
            await service.bring_up()
            yield Asking(settings, service, log_dir)
        finally:
            await service.shut_down()
