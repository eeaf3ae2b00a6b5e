"""What a run works with, played: claims and a history that remember what they were asked, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ConnectionError as RedisAwayError

from eldermesh.contract.cloudevents import Headers, header_text
from shared.history.runs.claims import AnnexedSpec, Claimed, ClaimRefusal, Renewal


class MovedClock:
    """Stands still, unless moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.asleep = 0.0

    def now_ms(self) -> int:
        """Wall time that goes with it."""
        return 1_790_000_000_000 + round(self.seconds * 1000)

    def move(self, seconds: float) -> None:
        """On by so much."""
        self.seconds += seconds

    def monotonic(self) -> float:
        """Where it was moved to."""
        return self.seconds

    def suspended_seconds(self) -> float:
        """How long the machine was suspended."""
        return self.asleep

    def suspend(self, seconds: float) -> None:
        """The machine is suspended for so long."""
        self.seconds += seconds
        self.asleep += seconds


@dataclass(slots=True)
class PlayedClaims:
    """Gives every claim; `calls` has what was asked, and what was appended to the history, in order."""

    spec_json: bytes = b"{}"
    missing: tuple[int, ...] = (0,)
    renewals: deque[Renewal] = field(default_factory=deque)
    calls: list[str] = field(default_factory=list)
    facts: list[bytes] = field(default_factory=list)
    unread: deque[Callable[[], None]] = field(default_factory=deque)
    """What happens while the specification cannot be read, question by question."""

    async def claim(self, *_: Any, **__: Any) -> Claimed | ClaimRefusal:
        """It is free."""
        self.calls.append("claim")
        return Claimed(self.missing, "mark")

    async def renew(self, *_: Any, **__: Any) -> Renewal:
        """As was planned; held otherwise."""
        self.calls.append("renew")
        return self.renewals.popleft() if self.renewals else Renewal.HELD

    async def finish(self, *_: Any, **__: Any) -> None:
        """Done."""
        self.calls.append("finish")

    async def spec(self, *_: Any, **__: Any) -> bytes:
        """What is to be run."""
        self.calls.append("spec")
        if self.unread:
            self.unread.popleft()()
            raise RedisAwayError("away")
        return self.spec_json

    async def annexed_spec(self, *_: Any, **__: Any) -> AnnexedSpec:
        """The same; nobody has advised."""
        return AnnexedSpec(await self.spec(), None)

    async def append(self, *_: Any, value: bytes, headers: Headers, **__: Any) -> None:
        """A fact, as `FactSink` takes it."""
        self.facts.append(value)
        self.calls.append(header_text(headers, "ce_type") or "")

    @property
    def renewed(self) -> int:
        """How often a lease was renewed."""
        return self.calls.count("renew")
