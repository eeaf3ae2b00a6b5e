"""Incident's word on a job where the sage has not given it: the router runs the rules itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

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
"""What the rules get for one job; one that needs longer counts as not judged."""
_READ_SECONDS = 5.0
_WINDOW_SECONDS = 1.0
_SHARE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class JobContent:
    """What a job asks to be run. `repr` never shows it."""

    workload: str
    items: tuple[JsonValue, ...]
    options: Mapping[str, JsonValue]

    def __repr__(self) -> str:
        return f"JobContent({self.workload}, {len(self.items)} items)"


Rules = Callable[[str, Sequence[JsonValue], Mapping[str, JsonValue]], Mapping[str, JsonValue]]
"""Workload, items and options of a job → incident's advice on it."""


class JobContents(Protocol):
    """Where the content of jobs is."""

    async def read(self, job_id: str) -> JobContent | None:
        """A job's content; None when it is not there (any more).

        Raises:
            RetryableError, redis.RedisError: it could not be read; ask again.
        """
        ...


class SpecContents:
    """The content of jobs in one history partition, from the specifications that their runners read.

    Args:
        redis: a client with `decode_responses=False`.
        keys: the partition's keys.
    """

    def __init__(self, redis: Redis, keys: PartitionKeys) -> None:
        self._redis = redis
        self._keys = keys

    async def read(self, job_id: str) -> JobContent | None:
        """As in `JobContents`."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                raw = await self._redis.hget(self._keys.specs, job_id)
        except TimeoutError:
            raise RetryableError(f"the content of job {job_id} could not be read within {_READ_SECONDS} s") from None
        if raw is None:
            return None
        spec = orjson.loads(raw)
        return JobContent(spec["workload"], tuple(spec["items"] or ()), spec["options"])


class JudgingTime:
    """How much of its time an owner may spend on judging: half of each second.

    A flood of large jobs must not keep it from the timers and chunks of all others.

    Args:
        clock: measures.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._spent = 0.0

    @property
    def is_left(self) -> bool:
        """Whether another job may be judged now; one that has begun is judged to its end."""
        now = self._clock.monotonic()
        if now - self._began >= _WINDOW_SECONDS:
            self._began, self._spent = now, 0.0
        return self._spent < _SHARE_SECONDS

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Counts the time of what is done in it."""
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self._spent += self._clock.monotonic() - began


def incident_rules(
    workload: str, items: Sequence[JsonValue], options: Mapping[str, JsonValue]
) -> Mapping[str, JsonValue]:
    """The rules that the sage runs, too."""
    return judge(workload, items, options).as_advice()


async def judged(content: JobContent, *, rules: Rules = incident_rules, seconds: float = RULES_SECONDS) -> AdviceEntry:
    """What the rules say, as incident's entry; `late` or `failed` like that of a sage if they do not get to an end."""
    said_by: dict[str, JsonValue] = {"by": "router"}
    try:
        async with asyncio.timeout(seconds):
            advice = await asyncio.to_thread(rules, content.workload, content.items, content.options)
    except (TimeoutError, JudgedTooLongError):
        return AdviceEntry(sage=INCIDENT, status="late", advice=said_by)
    except Exception as error:  # noqa: BLE001 - one job that a rule trips over must not stop all others
        # Neither message nor traceback: they may quote the job.
        _log.error("the rules of incident failed", error_type=type(error).__name__)
        return AdviceEntry(sage=INCIDENT, status="failed", advice=said_by)
    return AdviceEntry(sage=INCIDENT, status="ok", advice={**advice, **said_by})
