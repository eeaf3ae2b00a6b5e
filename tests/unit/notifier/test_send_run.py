"""One send under a lease, over played claims and a played history."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest
from opentelemetry.trace import INVALID_SPAN

from services.notifier.channels.sender import Message, SendOutcome, Sent
from services.notifier.notifications.run import SendRun, SendRunnerParts, SendTask
from shared.errors import RetryableError
from shared.history.chunk_id import ChunkId
from shared.history.clock import Instant
from shared.history.runs.claimed_run import ResultUntoldError
from shared.history.runs.claims import ClaimStore, Renewal
from shared.history.runs.lease import Lease
from shared.settings import Settings
from tests.unit.notifier.test_fold import ID, planned
from tests.unit.runs import MovedClock, PlayedClaims
from tests.waiting import wait_until

LEASE_SECONDS = 10.0


@dataclass(slots=True)
class PlayedSender:
    """Takes every message, at once or when it is told to end.

    Attributes:
        may_stop: a send that is broken off ends only then; None: sends do not wait.
    """

    may_stop: asyncio.Event | None = None
    messages: list[str] = field(default_factory=list)

    async def send(self, message: Message) -> SendOutcome:
        """Send once."""
        self.messages.append(message.message_id)
        if self.may_stop is not None:
            try:
                await asyncio.Event().wait()
            finally:
                await self.may_stop.wait()
        return Sent()


class SlowHistory(PlayedClaims):
    """Takes so long to acknowledge a fact."""

    clock: MovedClock
    takes_seconds: float = 0.0

    async def append(self, *places: object, **fields: object) -> None:
        """A fact."""
        await PlayedClaims.append(self, *places, **fields)  # type: ignore[arg-type]
        self.clock.seconds += self.takes_seconds


def send_run(claims: SlowHistory, sender: PlayedSender, stopping: asyncio.Event) -> SendRun:
    """A run that was claimed just now."""
    claims.clock = MovedClock()
    chunk = ChunkId(ID, 0, 1, 0, 0)
    store = cast("ClaimStore", claims)
    parts = SendRunnerParts(
        settings=Settings(_env_file=None),
        worker_id="w",
        claims=store,
        facts=claims,
        senders={"ops": sender},
        clock=claims.clock,
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
        clock=claims.clock,
        taken_at=Instant.now(claims.clock),
    )
    task = SendTask(topic="t.notifications", partition=0, chunk=chunk, attempt=1, planned=planned())
    return SendRun(parts, task, lease, INVALID_SPAN, stopping)


async def test_nothing_is_sent_on_a_lease_that_lapsed() -> None:
    """The process stood still after it had said that it sends: somebody else may be sending by now."""
    claims, sender = SlowHistory(), PlayedSender()
    claims.takes_seconds = LEASE_SECONDS
    run = send_run(claims, sender, asyncio.Event())
    assert await asyncio.wait_for(run.run(), 60.0) == "lapsed"
    assert (sender.messages, claims.calls) == ([], ["notification.sending"])


async def test_a_send_in_time_goes_out_once() -> None:
    """What came of it is in the history before the claim is done."""
    claims, sender = SlowHistory(), PlayedSender()
    claims.takes_seconds = LEASE_SECONDS / 3
    assert await asyncio.wait_for(send_run(claims, sender, asyncio.Event()).run(), 60.0) == "sent"
    steps = [call for call in claims.calls if call != "renew"]
    assert (sender.messages, steps) == ([ID], ["notification.sending", "notification.sent", "finish"])


async def test_the_claim_is_held_until_the_send_has_stopped() -> None:
    """A notifier is told to stop while a server takes its time; the interruption is said last."""
    claims, sender, stopping = SlowHistory(), PlayedSender(asyncio.Event()), asyncio.Event()
    running = asyncio.create_task(send_run(claims, sender, stopping).run())
    await wait_until(lambda: sender.messages, description="a send is under way")
    stopping.set()
    await asyncio.sleep(0)
    renewed = claims.renewed
    await wait_until(lambda: claims.renewed > renewed + 3, description="the claim is renewed while the send ends")
    assert "notification.interrupted" not in claims.calls
    assert sender.may_stop is not None
    sender.may_stop.set()
    assert await asyncio.wait_for(running, 60.0) == "interrupted"
    assert claims.calls[-1] == "notification.interrupted"


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_send_whose_machine_was_suspended_is_given_back(
    is_ours: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Nobody has died; but if another run has it meanwhile, this one leaves silently."""
    claims, sender = SlowHistory(), PlayedSender(asyncio.Event())
    assert sender.may_stop is not None
    sender.may_stop.set()
    running = asyncio.create_task(send_run(claims, sender, asyncio.Event()).run())
    await wait_until(lambda: sender.messages, description="a send is under way")
    if not is_ours:
        claims.renewals.append(Renewal.CLAIM_LOST)
    claims.clock.suspend(LEASE_SECONDS + 1.0)
    assert await asyncio.wait_for(running, 60.0) == ("interrupted" if is_ours else "suspended")
    assert ("notification.interrupted" in claims.calls) is is_ours


class LosingHistory(SlowHistory):
    """Takes no fact of what came of a send."""

    async def append(self, *places: object, **fields: object) -> None:
        """A fact."""
        await SlowHistory.append(self, *places, **fields)
        if self.calls[-1] == "notification.sent":
            self.clock.move(700.0)  # for longer than anybody waits
            raise RetryableError("Kafka is away")


async def test_a_message_that_is_out_is_not_given_back() -> None:
    """The history does not know it: the claim dies, which counts, so that the message does not go out for ever."""
    claims, sender = LosingHistory(), PlayedSender()
    with pytest.raises(ResultUntoldError):
        await asyncio.wait_for(send_run(claims, sender, asyncio.Event()).run(), 60.0)
    assert sender.messages == [ID]
    assert "notification.interrupted" not in claims.calls
    assert "finish" not in claims.calls
