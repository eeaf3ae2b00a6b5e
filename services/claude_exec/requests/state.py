"""A request's state: what its facts, in log order, have made of it. All times are integer milliseconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pydantic import TypeAdapter

from eldermesh.contract.claude_output import ClaudeEndStatus
from shared.facts.claude import ClaudeTerms
from shared.history.chunks import ChunkId
from shared.history.keys import FOLD_VERSION


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What made the request; kept as long as it is known."""

    content_hash: str
    at: int
    inbox: str
    trace_id: str
    traceparent: str
    tracestate: str | None


@dataclass(frozen=True, slots=True)
class End:
    """The end as it is published: built once, by the deciding fact."""

    status: ClaudeEndStatus
    event_type: str
    at: int
    value: str


@dataclass(frozen=True, slots=True)
class RequestState:
    """The state of one request. A stub (a cancel that came before its request) has neither acceptance nor end.

    Attributes:
        epoch: Of the run that is to be; the first is 1.
        deaths: Runs that died in a row.
        expires_at: When its only timer comes due; None once it has ended.
        accepted_since: Whether it was sent again after its last mark, which retention may then drop before that repeat.
    """

    request_id: str
    t: int
    first_offset: int
    last_offset: int
    fold_version: int = FOLD_VERSION
    acceptance: Acceptance | None = None
    stub_at: int | None = None
    stub_reason: str | None = None
    terms: ClaudeTerms | None = None
    submitted_at: int = 0
    epoch: int = 0
    deaths: int = 0
    expires_at: int | None = None
    end: End | None = None
    marked: bool = False
    accepted_since: bool = False

    @property
    def is_live(self) -> bool:
        """Accepted and not ended."""
        return self.acceptance is not None and self.end is None

    @property
    def chunk(self) -> ChunkId:
        """The one chunk that stands in the plan of a live request: its prompt, as item 0."""
        return ChunkId(self.request_id, 0, self.epoch, 0, 0)

    @property
    def timer_id(self) -> str:
        """Identity of the timer, which is armed once."""
        return f"{self.request_id}:expires:1"


@cache
def state_adapter() -> TypeAdapter[RequestState]:
    """Serialiser of states."""
    return TypeAdapter(RequestState)
