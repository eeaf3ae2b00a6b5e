"""A request's state, folded from its facts in log order. All times are integer milliseconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from pydantic import TypeAdapter

from eldermesh.contract.claude_output import ClaudeEndStatus
from shared.facts.claude import ClaudeTerms
from shared.history.accepted_state import AcceptedState
from shared.history.chunk_id import ChunkId
from shared.history.end import End


@dataclass(frozen=True, slots=True)
class RequestState(AcceptedState[ClaudeEndStatus]):
    """The state of one request.

    Attributes:
        epoch: Of the current run; the first is 1.
        deaths: Runs that died in a row.
        expires_at: When its only timer comes due; None once it has ended.
    """

    request_id: str
    end: End[ClaudeEndStatus] | None = field(default=None, kw_only=True)  # see `JobState`
    terms: ClaudeTerms | None = None
    epoch: int = 0
    deaths: int = 0
    expires_at: int | None = None

    @property
    def subject(self) -> str:
        """The request id."""
        return self.request_id

    @property
    def chunk(self) -> ChunkId:
        """The only chunk of a live request: its prompt, as item 0."""
        return ChunkId(self.request_id, 0, self.epoch, 0, 0)

    @property
    def timer_id(self) -> str:
        """Id of the timer, which is armed once."""
        return f"{self.request_id}:expires:1"


@cache
def state_adapter() -> TypeAdapter[RequestState]:
    """Serialiser of states."""
    return TypeAdapter(RequestState)
