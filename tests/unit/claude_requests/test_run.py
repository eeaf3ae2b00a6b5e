"""One prompt under a lease, over played claims and a played history; the CLI is played, too."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import orjson
import pytest
from opentelemetry.trace import INVALID_SPAN

from services.claude_exec.outcomes.outcome import ClaudeOutcome
from services.claude_exec.requests import run as request_run
from services.claude_exec.requests.run import RequestRunnerParts, RequestTask
from services.claude_exec.requests.spec import RequestSpec
from shared.blobs.store import BlobStore
from shared.errors import RetryableError, StillRunningError
from shared.history.chunk_id import ChunkId
from shared.history.clock import Instant
from shared.history.runs.claims import ClaimStore, Renewal
from shared.history.runs.lease import Lease
from shared.settings import Settings
from tests.unit.claude_requests.test_fold import REQUEST
from tests.unit.runs import MovedClock, PlayedClaims
from tests.waiting import wait_until

LEASE_SECONDS = 10.0


class PlayedExecution:
    """Answers at once, or stays until it is killed and may stop."""

    prompts: list[str]
    may_stop: asyncio.Event | None
    raises: deque[Exception]

    def __init__(self, prompt: str, *_: Any, **__: Any) -> None:
        self._prompt = prompt

    def kill(self) -> None:
        """It is broken off by cancelling it."""

    async def run(self) -> ClaudeOutcome:
        """Run the prompt."""
        self.prompts.append(self._prompt)
        if self.raises:
            raise self.raises.popleft()
        if self.may_stop is not None:
            try:
                await asyncio.Event().wait()
            finally:
                await self.may_stop.wait()
        return ClaudeOutcome("ok", output="fine", message="")


@pytest.fixture
def execution(monkeypatch: pytest.MonkeyPatch) -> type[PlayedExecution]:
    """What stands in the place of the CLI."""

    class Execution(PlayedExecution):
        prompts: list[str] = []  # noqa: RUF012 - of this test alone
        may_stop = None
        raises: deque[Exception] = deque()  # noqa: RUF012 - the same

    monkeypatch.setattr(request_run, "Execution", Execution)
    return Execution


def made_run(
    claims: PlayedClaims, clock: MovedClock, stopping: asyncio.Event, *, patience_seconds: float = 600.0
) -> request_run.RequestRun:
    """A run that was claimed just now."""
    chunk = ChunkId(REQUEST, 0, 1, 0, 0)
    store = cast("ClaimStore", claims)
    parts = RequestRunnerParts(
        settings=Settings(_env_file=None),
        worker_id="w",
        claims=store,
        facts=claims,
        blobs=cast("BlobStore", None),  # results are small: it is never asked
        clock=clock,
        patience_seconds=patience_seconds,
    )
    lease = Lease(
        store,
        0,
        chunk,
        runner="w",
        run="1",
        mark="m",
        seconds=LEASE_SECONDS,
        heartbeat_seconds=0.01,
        clock=clock,
        taken_at=Instant.now(clock),
    )
    task = RequestTask("t.claude.history", 0, chunk, clock.now_ms(), None, None)
    spec = RequestSpec(
        prompt="hello", options={}, run_timeout_seconds=None, stream=False, trace_id="0" * 32, content_hash="abc"
    )
    return request_run.RequestRun(parts, task, spec, lease, clock.now_ms(), INVALID_SPAN, stopping)


async def test_no_prompt_runs_on_a_lease_that_lapsed(execution: type[PlayedExecution]) -> None:
    """The process stood still between the claim and the run: the run ends without asking."""
    claims, clock = PlayedClaims(), MovedClock()
    run = made_run(claims, clock, asyncio.Event())
    clock.seconds += LEASE_SECONDS
    assert await asyncio.wait_for(run.run(), 60.0) == "lapsed"
    assert (execution.prompts, claims.calls) == ([], [])


async def test_an_answer_is_in_the_history_before_the_claim_is_done(execution: type[PlayedExecution]) -> None:
    """A runner that is killed between the two leaves a claim that dies."""
    claims = PlayedClaims()
    assert await asyncio.wait_for(made_run(claims, MovedClock(), asyncio.Event()).run(), 60.0) is None
    assert execution.prompts == ["hello"]
    assert [call for call in claims.calls if call != "renew"] == ["claude.answered", "finish"]
    assert [orjson.loads(fact)["content_hash"] for fact in claims.facts] == ["abc"]


async def test_the_claim_is_held_until_the_cli_has_ended(execution: type[PlayedExecution]) -> None:
    """A service is told to stop and its CLI takes its time; the interruption is said last."""
    claims, stopping = PlayedClaims(), asyncio.Event()
    execution.may_stop = asyncio.Event()
    running = asyncio.create_task(made_run(claims, MovedClock(), stopping).run())
    await wait_until(lambda: execution.prompts, description="a prompt runs")
    stopping.set()
    await asyncio.sleep(0)
    renewed = claims.renewed
    await wait_until(lambda: claims.renewed > renewed + 3, description="the claim is renewed while the CLI ends")
    assert "claude.interrupted" not in claims.calls
    execution.may_stop.set()
    assert await asyncio.wait_for(running, 60.0) == "interrupted"
    assert claims.calls[-1] == "claude.interrupted"
    assert orjson.loads(claims.facts[-1])["content_hash"] == "abc"


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_prompt_whose_machine_was_suspended_is_given_back(
    execution: type[PlayedExecution],
    is_ours: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Nobody has died; but if another run has it meanwhile, this one leaves silently."""
    claims, clock = PlayedClaims(), MovedClock()
    execution.may_stop = asyncio.Event()
    execution.may_stop.set()
    running = asyncio.create_task(made_run(claims, clock, asyncio.Event()).run())
    await wait_until(lambda: execution.prompts, description="a prompt runs")
    await asyncio.sleep(0)
    if not is_ours:
        claims.renewals.append(Renewal.CLAIM_LOST)
    clock.suspend(LEASE_SECONDS + 1.0)
    assert await asyncio.wait_for(running, 60.0) == ("interrupted" if is_ours else "suspended")
    assert ("claude.interrupted" in claims.calls) is is_ours


async def test_a_prompt_that_had_not_begun_is_given_back_too(execution: type[PlayedExecution]) -> None:
    """The machine was suspended between the claim and the run."""
    claims, clock = PlayedClaims(), MovedClock()
    run = made_run(claims, clock, asyncio.Event())
    clock.suspend(LEASE_SECONDS)
    assert await asyncio.wait_for(run.run(), 60.0) == "interrupted"
    assert (execution.prompts, claims.calls) == ([], ["renew", "claude.interrupted"])


async def test_a_prompt_for_which_there_is_no_room_is_tried_again(execution: type[PlayedExecution]) -> None:
    """A disk that is full for a moment kills nobody: the claim is held meanwhile."""
    claims = PlayedClaims()
    execution.raises.extend([RetryableError("no room")] * 2)
    assert await asyncio.wait_for(made_run(claims, MovedClock(), asyncio.Event()).run(), 60.0) is None
    assert len(execution.prompts) == 3
    assert [call for call in claims.calls if call != "renew"] == ["claude.answered", "finish"]


async def test_a_prompt_for_which_there_is_no_room_for_long_is_given_back(execution: type[PlayedExecution]) -> None:
    """It may run elsewhere, and nobody has died."""
    claims = PlayedClaims()
    execution.raises.extend([RetryableError("no room")] * 9)
    run = made_run(claims, MovedClock(), asyncio.Event(), patience_seconds=0.0)
    assert await asyncio.wait_for(run.run(), 60.0) == "interrupted"
    assert [call for call in claims.calls if call != "renew"] == ["claude.interrupted"]


async def test_a_prompt_whose_cli_outlived_its_end_is_not_run_beside_it(execution: type[PlayedExecution]) -> None:
    """Nobody may say that nothing of it runs: the claim dies by its lease."""
    claims = PlayedClaims()
    execution.raises.append(StillRunningError("outlived SIGKILL"))
    with pytest.raises(StillRunningError):
        await asyncio.wait_for(made_run(claims, MovedClock(), asyncio.Event()).run(), 60.0)
    assert len(execution.prompts) == 1
    assert "claude.interrupted" not in claims.calls
