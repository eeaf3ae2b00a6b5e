"""The parts of a run end while its claim is held."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from shared.history.chunk_id import ChunkId
from shared.history.clock import Instant
from shared.history.runs.claimed_run import end_run
from shared.history.runs.claims import ClaimStore, Renewal
from shared.history.runs.lease import Lease, LeaseLostError
from tests.unit.runs import MovedClock, PlayedClaims
from tests.waiting import wait_until

CHUNK = ChunkId("4f970e3e-d1a3-5d45-8587-591465c16100", 0, 1, 0, 9)


def lease(claims: PlayedClaims) -> Lease:
    """A lease of ten seconds, with a heartbeat each hundredth."""
    return Lease(
        cast("ClaimStore", claims),
        0,
        CHUNK,
        runner="r",
        run="1",
        mark="m",
        seconds=10.0,
        heartbeat_seconds=0.01,
        clock=(clock := MovedClock()),
        taken_at=Instant.now(clock),
    )


async def slow_to_stop(may_stop: asyncio.Event) -> None:
    """Something that has to be waited for, as a process that ends."""
    try:
        await asyncio.Event().wait()
    finally:
        await may_stop.wait()


async def test_the_claim_is_renewed_until_the_last_part_has_ended() -> None:
    """Otherwise it would be dead while the item still runs, and another run would begin the item again."""
    claims, may_stop = PlayedClaims(), asyncio.Event()
    keeping = asyncio.create_task(lease(claims).keep())
    working = asyncio.create_task(slow_to_stop(may_stop))
    await asyncio.sleep(0)
    ending = asyncio.create_task(end_run({working}, keeping))
    await wait_until(working.cancelling, description="the part was told to stop")
    renewed = claims.renewed
    await wait_until(lambda: claims.renewed > renewed + 2, description="the claim is renewed while the part ends")
    assert not ending.done()
    may_stop.set()
    assert await asyncio.wait_for(ending, 60.0)
    assert keeping.cancelled()
    assert working.cancelled()


async def test_a_part_that_does_not_stop_is_given_up() -> None:
    """After the time that was given; then nobody renews any more."""
    claims, may_stop = PlayedClaims(), asyncio.Event()
    keeping = asyncio.create_task(lease(claims).keep())
    working = asyncio.create_task(slow_to_stop(may_stop))
    await asyncio.sleep(0)
    assert not await asyncio.wait_for(end_run({working}, keeping, seconds=0.05), 60.0)
    assert keeping.cancelled()
    may_stop.set()
    await asyncio.wait({working})


async def test_a_claim_that_is_lost_meanwhile_changes_nothing() -> None:
    """The parts still end."""
    claims = PlayedClaims()
    claims.renewals.append(Renewal.CLAIM_LOST)
    keeping = asyncio.create_task(lease(claims).keep())
    await asyncio.wait({keeping})
    working = asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    assert await asyncio.wait_for(end_run({working}, keeping), 60.0)
    assert keeping.result().reason == "claim_lost"


async def test_a_lease_is_checked_without_asking() -> None:
    """It lives until ten seconds after it was taken, by this side's own clock."""
    claims, clock = PlayedClaims(), MovedClock()
    held = lease(claims)
    held._clock = clock  # noqa: SLF001 - the one to move
    held.check()
    clock.seconds += 10.0
    with pytest.raises(LeaseLostError, match="lapsed"):
        held.check()
    assert claims.calls == []
