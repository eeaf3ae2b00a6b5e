"""The runner of notifications while claims cannot be had, over played claims."""

from __future__ import annotations

from collections import deque
from typing import cast

import pytest

from services.notifier.notifications.run import SendRunnerParts, SendTask
from services.notifier.notifications.runner import SendRunner
from shared.history.chunk_id import ChunkId
from shared.history.runs.claims import ClaimRefusal, ClaimStore
from shared.settings import Settings
from tests.unit.notifier.test_fold import ID, planned
from tests.unit.notifier.test_send_run import PlayedSender
from tests.unit.refusing_claims import ASKING_SECONDS, RefusingClaims
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("refusal", "seconds", "claim_timeout"),
    [
        pytest.param(None, 120.0, 60.0, id="redis away"),
        pytest.param(ClaimRefusal.NOT_YET, 40.0, 60.0, id="gate closed"),
        pytest.param(ClaimRefusal.NOT_YET, 10.0, 5.0, id="a time-out shorter than a send"),
    ],
)
async def test_a_notice_is_sent_as_soon_as_it_can_be_claimed(
    refusal: ClaimRefusal | None, seconds: float, claim_timeout: float
) -> None:
    """Longer than one round of asking: its owner sends nothing again before the claim's time-out."""
    sender, claims = PlayedSender(), RefusingClaims(answers=deque([refusal] * round(seconds / ASKING_SECONDS)))
    parts = SendRunnerParts(
        settings=Settings(claim_timeout_seconds=claim_timeout, _env_file=None),
        worker_id="w",
        claims=cast("ClaimStore", claims),
        facts=claims,
        senders={"ops": sender},
        clock=claims.clock,
    )
    runner = SendRunner(parts)
    runner.take(SendTask("t.notifications", 0, ChunkId(ID, 0, 1, 0, 0), attempt=1, planned=planned()))
    await wait_until(lambda: "finish" in claims.calls, description="it is sent")
    assert sender.messages == [ID]
    await runner.stop(1.0)
