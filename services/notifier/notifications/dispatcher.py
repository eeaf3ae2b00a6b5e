"""Dispatch: the owner hands a notification to the runner of its own process."""

from __future__ import annotations

from collections.abc import Sequence

from services.notifier.notifications.runner import SendRunner
from services.notifier.notifications.runner_parts import SendTask
from services.notifier.notifications.state import NotificationState
from shared.history.machine import DecisionDue, DispatchDue, NewFact


class NotificationDispatcher:
    """`Dispatcher[NotificationState]`.

    Args:
        history_topic: full name of `notifications`.
        runner: of this process.
    """

    def __init__(self, history_topic: str, runner: SendRunner) -> None:
        self._history_topic = history_topic
        self._runner = runner

    def rank(self, state: NotificationState) -> tuple[int, int]:
        """First come, first served."""
        return (0, state.first_offset)

    async def dispatch(self, partition: int, chunks: Sequence[tuple[NotificationState, DispatchDue]]) -> None:
        """Hand notifications to the runner."""
        for state, due in chunks:
            if state.planned is not None:
                self._runner.take(
                    SendTask(self._history_topic, partition, due.chunk, state.attempts + 1, state.planned)
                )


class NoDecider:
    """`Decider[NotificationState]`: a notification needs no decision beyond the log."""

    async def decide(self, state: NotificationState, due: DecisionDue) -> NewFact | None:  # noqa: ARG002 - never asked
        """Nothing to decide."""
        return None
