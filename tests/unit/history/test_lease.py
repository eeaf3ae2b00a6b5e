"""A lease against a scripted claim store and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.history.chunk_id import ChunkId
from shared.history.clock import Instant
from shared.history.runs.claims import ClaimStore, Renewal
from shared.history.runs.lease import Lease, LeaseLostError

CHUNK = ChunkId("4f970e3e-d1a3-5d45-8587-591465c16100", 0, 1, 0, 9)
LEASE_SECONDS = 10.0


class MovedClock:
    """Stands still, unless moved; each question about a claim may move it."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.asleep = 0.0

    def now_ms(self) -> int:
        """Not asked for."""
        raise NotImplementedError

    def monotonic(self) -> float:
        """Where it was moved to."""
        return self.seconds

    def suspended_seconds(self) -> float:
        """How long the machine was suspended."""
        return self.asleep


class ScriptedClaims:
    """Answers renewals, and marks of being done, from a list; an answer is a result or an error, and time it takes."""

    def __init__(self, clock: MovedClock, answers: Sequence[tuple[Renewal | Exception | None, float]]) -> None:
        self._clock = clock
        self._answers = list(answers)
        self.asked = 0

    async def renew(self, *_: Any, **__: Any) -> Renewal:
        """The next answer."""
        return cast("Renewal", self._next())

    async def finish(self, *_: Any, **__: Any) -> None:
        """The next answer."""
        self._next()

    def _next(self) -> Renewal | None:
        self.asked += 1
        answer, seconds = self._answers.pop(0)
        self._clock.seconds += seconds
        if isinstance(answer, Exception):
            raise answer
        return answer


def lease(clock: MovedClock, *answers: tuple[Renewal | Exception | None, float]) -> tuple[Lease, ScriptedClaims]:
    """A lease that was taken now."""
    claims = ScriptedClaims(clock, answers)
    made = Lease(
        cast("ClaimStore", claims),
        0,
        CHUNK,
        runner="r",
        run="1",
        mark="m",
        seconds=LEASE_SECONDS,
        heartbeat_seconds=0.01,
        clock=clock,
        taken_at=Instant.now(clock),
    )
    return made, claims


DOWN = RedisConnectionError("down")


async def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    """An answer that took 6 s leaves 4 of the 10: Redis may have set the end when the question left."""
    clock = MovedClock()
    held, claims = lease(clock, (Renewal.HELD, 6.0), (Renewal.HELD, 0.0))
    await held.renew()
    clock.seconds += 4.0
    with pytest.raises(LeaseLostError, match="lapsed"):
        await held.renew()
    assert claims.asked == 1


@pytest.mark.parametrize("answer", [Renewal.JOB_ENDED, Renewal.CLAIM_LOST, Renewal.NOT_CURRENT])
async def test_every_refusal_ends_the_run(answer: Renewal) -> None:
    """The reason is the refusal's word."""
    held, _ = lease(MovedClock(), (answer, 0.0))
    with pytest.raises(LeaseLostError, match=answer.value):
        await held.renew()


async def test_redis_may_be_away_for_less_than_a_lease() -> None:
    """Failures are asked over; what counts is that one answer comes in time."""
    held, claims = lease(MovedClock(), (DOWN, 4.0), (TimeoutError(), 4.0), (Renewal.HELD, 0.0))
    await held.renew()
    assert claims.asked == 3


async def test_redis_that_is_away_for_a_lease_ends_the_run_without_being_asked() -> None:
    """After the lease has lapsed by its own clock nothing is asked any more."""
    held, claims = lease(MovedClock(), (DOWN, 5.0), (DOWN, 5.0), (Renewal.HELD, 0.0))
    with pytest.raises(LeaseLostError, match="lapsed"):
        await held.renew()
    assert claims.asked == 2


async def test_a_process_that_stood_still_kills_its_run_without_asking() -> None:
    """The heartbeat that comes after a pause of a lease ends the run, although the claim might still be renewed."""
    clock = MovedClock()
    held, claims = lease(clock, (Renewal.HELD, 0.0), (Renewal.HELD, LEASE_SECONDS))
    lost = await asyncio.wait_for(held.keep(), 60.0)
    assert lost.reason == "lapsed"
    assert claims.asked == 2


async def test_heartbeats_go_on_until_the_claim_is_refused() -> None:
    """Each heartbeat renews once."""
    answers = [(Renewal.HELD, 0.1)] * 5
    held, claims = lease(MovedClock(), *answers, (Renewal.NOT_CURRENT, 0.0))
    assert (await asyncio.wait_for(held.keep(), 60.0)).reason == "not_current"
    assert claims.asked == 6


async def test_finishing_is_tried_for_as_long_as_the_lease_lives() -> None:
    """A failure is asked over, a lapsed lease is not."""
    held, _ = lease(MovedClock(), (DOWN, 3.0), (None, 0.0))
    await held.finish()
    held, claims = lease(MovedClock(), (DOWN, 6.0), (DOWN, 6.0), (None, 0.0))
    with pytest.raises(LeaseLostError, match="lapsed"):
        await held.finish()
    assert claims.asked == 2


async def test_a_lease_that_would_live_but_for_a_suspension_says_so() -> None:
    """The machine was suspended for an hour; awake it was for less than a lease."""
    clock = MovedClock()
    held, claims = lease(clock, (Renewal.HELD, 0.0))
    await held.renew()
    clock.seconds, clock.asleep = clock.seconds + 3600.0 + LEASE_SECONDS - 1.0, 3600.0
    with pytest.raises(LeaseLostError, match="suspended"):
        held.check()
    assert claims.asked == 1


async def test_a_lease_that_lapsed_awake_is_lapsed_whatever_was_before() -> None:
    """Of suspensions only those since the last renewal count, and only if they are why."""
    clock = MovedClock()
    held, _ = lease(clock, (Renewal.HELD, 0.0))
    clock.seconds, clock.asleep = clock.seconds + 5.0, 5.0
    await held.renew()
    clock.seconds, clock.asleep = clock.seconds + LEASE_SECONDS + 2.0, 7.0
    with pytest.raises(LeaseLostError, match="lapsed"):
        held.check()


@pytest.mark.parametrize(
    ("answers", "is_held"),
    [
        ([(Renewal.HELD, 0.0)], True),
        ([(DOWN, 0.0), (Renewal.HELD, 0.0)], True),
        ([(Renewal.CLAIM_LOST, 0.0)], False),
        ([(Renewal.NOT_CURRENT, 0.0)], False),
        ([(Renewal.JOB_ENDED, 0.0)], False),
        ([(DOWN, 0.0)] * 100, False),
    ],
    ids=["held", "held at last", "another run's", "replaced", "ended", "no answer"],
)
async def test_whose_claim_it_is_after_a_suspension(
    answers: list[tuple[Renewal | Exception | None, float]],
    is_held: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Only Redis can tell; without an answer it may be anybody's."""
    held, _ = lease(MovedClock(), *answers)
    assert await held.is_still_held(0.5) is is_held


async def test_where_a_lease_ends() -> None:
    """Counted from when its last renewal was asked for, or sooner, if that is wished."""
    clock = MovedClock()
    held, _ = lease(clock, (Renewal.HELD, 3.0))
    assert held.ends_at(at_most_seconds=60.0) == 1000.0 + LEASE_SECONDS
    clock.seconds = 1004.0
    await held.renew()
    assert held.ends_at(at_most_seconds=60.0) == 1004.0 + LEASE_SECONDS
    assert held.ends_at(at_most_seconds=2.5) == 1007.0 + 2.5
    clock.seconds = 1004.0 + LEASE_SECONDS
    with pytest.raises(LeaseLostError, match="lapsed"):
        held.ends_at(at_most_seconds=2.5)
