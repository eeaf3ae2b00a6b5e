"""Dispatch: the owner hands a request to the runner of its own process."""

from __future__ import annotations

from collections.abc import Sequence

from services.claude_exec.requests.runner import RequestRunner
from services.claude_exec.requests.runner_parts import RequestTask
from services.claude_exec.requests.state import RequestState
from shared.history.clock import Clock
from shared.history.machine import DecisionDue, DispatchDue, NewFact


class RequestDispatcher:
    """`Dispatcher[RequestState]`.

    Args:
        history_topic: full name of `claude.history`.
        runner: of this process.
        clock: stamps `dispatched_at`.
    """

    def __init__(self, history_topic: str, runner: RequestRunner, clock: Clock) -> None:
        self._history_topic = history_topic
        self._runner = runner
        self._clock = clock

    def rank(self, state: RequestState) -> tuple[int, int]:
        """First come, first served."""
        return (0, state.first_offset)

    async def dispatch(self, partition: int, chunks: Sequence[tuple[RequestState, DispatchDue]]) -> None:
        """Hand requests to the runner."""
        for state, due in chunks:
            acceptance = state.acceptance
            self._runner.take(
                RequestTask(
                    topic=self._history_topic,
                    partition=partition,
                    chunk=due.chunk,
                    dispatched_at=self._clock.now_ms(),
                    traceparent=None if acceptance is None else acceptance.traceparent,
                    tracestate=None if acceptance is None else acceptance.tracestate,
                )
            )


class NoDecider:
    """`Decider[RequestState]`: a request needs no decision beyond the log."""

    async def decide(self, state: RequestState, due: DecisionDue) -> NewFact | None:  # noqa: ARG002 - never asked
        """Nothing to decide."""
        return None
