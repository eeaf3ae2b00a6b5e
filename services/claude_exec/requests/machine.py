"""The request's machine, as the owner drives it: `claude.history` → ends on `claude.output`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eldermesh.counted import counted
from services.claude_exec.requests.end import end_due
from services.claude_exec.requests.fold import fold_request
from services.claude_exec.requests.state import RequestState, state_adapter
from shared.facts.claude import ClaudeAnswered, ClaudeEnded, ClaudeReplanned
from shared.facts.fact import TimerFired
from shared.history.chunks import ChunkId
from shared.history.facts import FactRecord, fact_headers
from shared.history.machine import DispatchDue, Due, Folded, MarkDue, NewFact, TimerDue
from shared.kafka.topics import CLAUDE_HISTORY

OWNER_WORKER_ID = "claude_exec"


@dataclass(frozen=True, slots=True)
class RequestMachine:
    """`Machine[RequestState]`.

    Args:
        max_deaths: deaths in a row after which a request ends as `failed(crashed)`.
    """

    max_deaths: int = 3
    history_topic: str = CLAUDE_HISTORY
    mark_fact_type: str = ClaudeEnded.fact_type

    def fold(self, state: RequestState | None, record: FactRecord) -> Folded[RequestState]:
        """Fold one fact."""
        return fold_request(state, record)

    def due(self, state: RequestState, now_ms: int) -> Sequence[Due]:
        """The end, the timer and the run that the state calls for."""
        if state.acceptance is None:
            return ()
        if state.end is not None:
            if self.is_settled(state):
                return ()
            end = end_due(state, state.acceptance, state.end)
            # A request that outlives the mark would be made anew: the mark has to stand behind it.
            return (MarkDue(end.mark),) if state.marked else (end,)
        if state.expires_at is not None and state.expires_at <= now_ms:
            return (TimerDue(state.timer_id, _fact(state, TimerFired(timer_id=state.timer_id))),)
        return (DispatchDue(state.chunk, state.deaths + 1),)

    def lane(self, state: RequestState) -> str:  # noqa: ARG002 - part of `Machine`
        """All share one."""
        return ""

    def wake_at(self, state: RequestState) -> int | None:
        """When the request expires."""
        return state.expires_at

    def replan(self, state: RequestState, dead: Sequence[ChunkId]) -> Sequence[NewFact]:
        """Another epoch in place of a dead run, or the end of a prompt that kills its runners."""
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
            return (_fact(state, crash),)
        plan = ClaudeReplanned(epoch=state.epoch + 1, replaced=str(state.chunk), deaths=deaths)
        return (_fact(state, plan),)

    def chunks(self, state: RequestState) -> Mapping[str, ChunkId]:
        """The one chunk of a live request."""
        return {str(state.chunk): state.chunk} if state.is_live else {}

    def mark(self, state: RequestState) -> str:
        """When, from which record, and with which content it was accepted."""
        made = state.acceptance
        return "" if made is None else f"{made.at}/{made.inbox}/{made.content_hash}"

    def bitmap(self, state: RequestState) -> bytes:  # noqa: ARG002 - the only item is in when the request has ended
        """Nothing: a request without its end has no item in."""
        return b""

    def is_ended(self, state: RequestState) -> bool:
        """Whether the request has its end."""
        return state.end is not None

    def is_settled(self, state: RequestState) -> bool:
        """Ended and marked behind its last repeat, or a stub."""
        return (state.marked and not state.accepted_since) or state.acceptance is None

    def last_offset(self, state: RequestState) -> int:
        """Offset of the request's last fact."""
        return state.last_offset

    def encode(self, state: RequestState) -> bytes:
        """JSON of the state."""
        return state_adapter().dump_json(state)

    def decode(self, raw: bytes, bitmap: bytes) -> RequestState:  # noqa: ARG002 - see `bitmap`
        """Read a state back."""
        return state_adapter().validate_json(raw)


def _fact(state: RequestState, fact: TimerFired | ClaudeAnswered | ClaudeReplanned) -> NewFact:
    acceptance = state.acceptance
    traceparent = acceptance.traceparent if acceptance is not None else None
    tracestate = acceptance.tracestate if acceptance is not None else None
    headers = fact_headers(fact.fact_type, state.request_id, traceparent, tracestate)
    return NewFact(fact.fact_type, fact.encode(), headers)
