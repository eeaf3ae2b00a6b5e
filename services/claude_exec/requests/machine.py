"""The request's machine, as the owner drives it: `claude.history` → ends on `claude.output`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from eldermesh.counted import counted
from services.claude_exec.requests.end import END_KIND
from services.claude_exec.requests.fold import fold_request
from services.claude_exec.requests.state import RequestState, state_adapter
from shared.facts.claude import ClaudeAnswered, ClaudeEnded, ClaudeReplanned
from shared.facts.fact import TimerFired
from shared.history.accepted_machine import AcceptedMachine
from shared.history.chunk_id import ChunkId
from shared.history.facts import FactRecord
from shared.history.machine import DispatchDue, Due, Folded, NewFact, TimerDue
from shared.history.subject_state import subject_fact
from shared.kafka.topics import CLAUDE_HISTORY

OWNER_WORKER_ID = "claude_exec"


@dataclass(frozen=True, slots=True)
class RequestMachine(AcceptedMachine[RequestState]):
    """`Machine[RequestState]`.

    Args:
        max_deaths: after so many deaths in a row a request ends as `failed(crashed)`.
    """

    end_kind: ClassVar = END_KIND
    max_deaths: int = 3
    history_topic: str = CLAUDE_HISTORY
    mark_fact_type: str = ClaudeEnded.fact_type

    def fold(self, state: RequestState | None, record: FactRecord) -> Folded[RequestState]:
        """Fold one fact."""
        return fold_request(state, record)

    def due(self, state: RequestState, now_ms: int) -> Sequence[Due]:
        """The end, timer or run that is due."""
        if not state.is_live:
            return self.end_due(state)
        if state.expires_at is not None and state.expires_at <= now_ms:
            return (TimerDue(state.timer_id, subject_fact(state, TimerFired(timer_id=state.timer_id))),)
        return (DispatchDue(state.chunk, state.deaths + 1),)

    def lane(self, state: RequestState) -> str:  # noqa: ARG002 - part of `Machine`
        """One lane for all requests."""
        return ""

    def wake_at(self, state: RequestState) -> int | None:
        """When the request expires."""
        return state.expires_at

    def replan(self, state: RequestState, dead: Sequence[ChunkId]) -> Sequence[NewFact]:
        """A new epoch for a dead run, or the end of a prompt that killed its runner too often."""
        if not state.is_live or state.chunk not in dead:
            return ()
        deaths = state.deaths + 1
        if deaths >= self.max_deaths:
            crash = ClaudeAnswered(
                epoch=state.epoch,
                worker_id=OWNER_WORKER_ID,
                outcome="crashed",
                error_type="crashed",
                message=f"the runner died {counted(deaths, 'time')} on this prompt",
                only_if_current=True,
            )
            return (subject_fact(state, crash),)
        plan = ClaudeReplanned(epoch=state.epoch + 1, replaced=str(state.chunk), deaths=deaths)
        return (subject_fact(state, plan),)

    def chunks(self, state: RequestState) -> Sequence[ChunkId]:
        """The one chunk of a live request."""
        return (state.chunk,) if state.is_live else ()

    def bitmap(self, state: RequestState) -> bytes:  # noqa: ARG002 - the only item is done when the request has ended
        """Empty: a request without an end has no finished item."""
        return b""

    def encode(self, state: RequestState) -> bytes:
        """JSON of the state."""
        return state_adapter().dump_json(state)

    def decode(self, raw: bytes, bitmap: bytes) -> RequestState:  # noqa: ARG002 - see `bitmap`
        """Read a state back."""
        return state_adapter().validate_json(raw)
