"""The runner of requests while claims cannot be had, over played claims; the CLI is played, too."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import cast

import orjson
import pytest

from services.claude_exec.outcomes.outcome import ClaudeOutcome
from services.claude_exec.requests import run as request_run
from services.claude_exec.requests.run import RequestRunnerParts, RequestTask
from services.claude_exec.requests.runner import RequestRunner
from shared.blobs.store import BlobStore
from shared.history.chunk_id import ChunkId
from shared.history.runs.claims import ClaimRefusal, ClaimStore
from shared.settings import Settings
from tests.unit.claude_requests.test_fold import REQUEST
from tests.unit.refusing_claims import ASKING_SECONDS, RefusingClaims
from tests.waiting import wait_until

SPEC = orjson.dumps(
    {
        "prompt": "hello",
        "options": {},
        "run_timeout_ms": None,
        "stream": False,
        "trace_id": "0" * 32,
        "content_hash": "",
    }
)


class PlayedExecution:
    """Answers at once."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def kill(self) -> None:
        """It has ended."""

    async def run(self) -> ClaudeOutcome:
        """Run the prompt."""
        return ClaudeOutcome("ok", output="fine", message="")


def a_runner(claims: RefusingClaims, monkeypatch: pytest.MonkeyPatch) -> tuple[RequestRunner, RequestTask]:
    """A runner of one slot, and a request for it."""
    monkeypatch.setattr(request_run, "Execution", PlayedExecution)
    parts = RequestRunnerParts(
        settings=Settings(_env_file=None),
        worker_id="w",
        claims=cast("ClaimStore", claims),
        facts=claims,
        blobs=cast("BlobStore", None),  # results are small: it is never asked
        clock=claims.clock,
    )
    task = RequestTask("t.claude.history", 0, ChunkId(REQUEST, 0, 1, 0, 0), claims.clock.now_ms(), None, None)
    return RequestRunner(parts, slots=1), task


async def test_a_prompt_runs_as_soon_as_redis_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it was away: its owner sends nothing again before the claim's time-out, which may be doubled."""
    settings = Settings(_env_file=None)
    away = round(2 * settings.claim_timeout_seconds / ASKING_SECONDS)
    claims = RefusingClaims(spec_json=SPEC, answers=deque([None] * away))
    runner, task = a_runner(claims, monkeypatch)
    runner.take(task)
    await wait_until(lambda: "finish" in claims.calls, description="the prompt has run")
    assert claims.calls.count("claude.answered") == 1
    await runner.stop(1.0)


async def test_a_prompt_whose_specification_cannot_be_read_for_long_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis refuses to read for 24 s while it renews: the claim is held, and no attempt is lost."""
    claims = RefusingClaims(spec_json=SPEC)
    claims.unread.extend([partial(claims.clock.move, 6.0)] * 4)
    runner, task = a_runner(claims, monkeypatch)
    runner.take(task)
    await wait_until(lambda: not _asking(), description="its run has ended")
    assert claims.calls.count("spec") == 5
    assert claims.calls[-1] == "finish"
    await runner.stop(1.0)


async def test_a_prompt_whose_specification_cannot_be_read_stops_with_its_runner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does not keep the service from stopping."""
    claims = RefusingClaims(spec_json=SPEC)
    claims.unread.extend([lambda: None] * 10_000)
    runner, task = a_runner(claims, monkeypatch)
    runner.take(task)
    await wait_until(lambda: "spec" in claims.calls, description="its specification is asked for")
    await asyncio.wait_for(runner.stop(0.0), 60.0)
    assert "claude.answered" not in claims.calls


async def test_a_runner_that_waits_for_redis_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks no more, and nothing of it is left."""
    claims = RefusingClaims(spec_json=SPEC, answers=deque([None] * 10_000))
    runner, task = a_runner(claims, monkeypatch)
    runner.take(task)
    await wait_until(lambda: claims.calls, description="a claim is asked for")
    await asyncio.wait_for(runner.stop(0.0), 60.0)
    assert set(claims.calls) == {"claim"}


async def test_what_is_not_known_yet_is_asked_for_until_it_would_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is left, so that what its owner has forgotten does not stay here for ever."""
    settings = Settings(_env_file=None)
    claims = RefusingClaims(spec_json=SPEC, answers=deque([ClaimRefusal.NOT_YET] * 1000))
    runner, task = a_runner(claims, monkeypatch)
    runner.take(task)
    await wait_until(lambda: not _asking(), description="it was left")
    assert claims.calls.count("claim") == settings.claim_timeout_seconds // ASKING_SECONDS + 1
    claims.answers.clear()

    def sent_again() -> bool:
        runner.take(task)  # which does nothing until the runner has forgotten that it had it
        return "finish" in claims.calls

    await wait_until(sent_again, description="the prompt has run")
    await runner.stop(1.0)


def _asking() -> list[str]:
    return [name for each in asyncio.all_tasks() if (name := each.get_name()).startswith("request ")]
