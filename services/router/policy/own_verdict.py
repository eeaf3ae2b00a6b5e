"""The advice of `incident` on a job where that sage gave none: the router runs its rules itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import orjson
from pydantic import JsonValue
from redis.asyncio import Redis

from services.router.policy.risk_policy import INCIDENT
from shared.errors import RetryableError
from shared.facts.jobs import AdviceEntry
from shared.history.clock import Clock
from shared.history.keys import PartitionKeys
from shared.incident import JudgedTooLongError, judge
from shared.logs.setup import get_logger

_log = get_logger(__name__)

RULES_SECONDS = 5.0
"""Time for the rules on one job; a job that needs longer counts as not judged."""
_READ_SECONDS = 5.0
_WINDOW_SECONDS = 1.0
_SHARE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class JobContent:
    """What a job asks to run. `repr` never shows it."""

    workload: str
    items: tuple[JsonValue, ...]
    options: Mapping[str, JsonValue]

    def __repr__(self) -> str:
        return f"JobContent({self.workload}, {len(self.items)} items)"


Rules = Callable[[str, Sequence[JsonValue], Mapping[str, JsonValue]], Mapping[str, JsonValue]]
"""Workload, items and options of a job → incident's advice on it."""


ContentReader = Callable[[str], Awaitable[JobContent | None]]
"""Reads the content of a job by its id; None when it is gone.

Raises `RetryableError` or `redis.RedisError` when it could not be read: ask again.
"""


async def content_in_redis(redis: Redis, keys: PartitionKeys, job_id: str) -> JobContent | None:
    """A `ContentReader` once `redis` and `keys` are given: reads the specification that the job's runners read.

    `redis` has `decode_responses=False`; `keys` are those of the job's history partition.
    """
    try:
        async with asyncio.timeout(_READ_SECONDS):
            raw = await redis.hget(keys.specs, job_id)
    except TimeoutError:
        raise RetryableError(f"the content of job {job_id} could not be read within {_READ_SECONDS} s") from None
    if raw is None:
        return None
    spec = orjson.loads(raw)
    return JobContent(spec["workload"], tuple(spec["items"] or ()), spec["options"])


class JudgingTime:
    """Limits the time that an owner spends on judging to half of each second.

    So a flood of large jobs does not delay the timers and chunks of all others.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._spent = 0.0

    @property
    def is_left(self) -> bool:
        """Whether another job may be judged now."""
        now = self._clock.monotonic()
        if now - self._began >= _WINDOW_SECONDS:
            self._began, self._spent = now, 0.0
        return self._spent < _SHARE_SECONDS

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Count the time of the block."""
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self._spent += self._clock.monotonic() - began


def incident_rules(
    workload: str, items: Sequence[JsonValue], options: Mapping[str, JsonValue]
) -> Mapping[str, JsonValue]:
    """The same rules as those of the sage."""
    return judge(workload, items, options).as_advice()


async def judged(content: JobContent, *, rules: Rules = incident_rules, seconds: float = RULES_SECONDS) -> AdviceEntry:
    """The result of the rules as an entry of `incident`; `late` or `failed`, like a sage's, if they did not end."""
    said_by: dict[str, JsonValue] = {"by": "router"}
    try:
        async with asyncio.timeout(seconds):
            advice = await asyncio.to_thread(rules, content.workload, content.items, content.options)
    except (TimeoutError, JudgedTooLongError):
        return AdviceEntry(sage=INCIDENT, status="late", advice=said_by)
    except Exception as error:  # noqa: BLE001 - one job on which a rule fails must not stop all others
        # Neither message nor traceback: they may quote the job.
        _log.error("the rules of incident failed", error_type=type(error).__name__)
        return AdviceEntry(sage=INCIDENT, status="failed", advice=said_by)
    return AdviceEntry(sage=INCIDENT, status="ok", advice={**advice, **said_by})
