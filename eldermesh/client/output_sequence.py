"""The live output of one prompt in order: each record once, without gaps, the newest attempt's only. Pure."""

from __future__ import annotations

from eldermesh.contract.claude_output import ClaudeOutput


class OutputSequence:
    """Puts records in order of (`attempt`, `sequence`), drops repeats and what comes late of an older attempt.

    Args:
        from_sequence: the first one wanted of `attempt`; of later attempts all are.
        attempt: where to begin; what an older one said is void.
    """

    def __init__(self, from_sequence: int = 1, attempt: int = 1) -> None:
        if from_sequence < 1 or attempt < 1:
            raise ValueError("from_sequence and attempt count from 1")
        self._attempt = attempt
        self._next = from_sequence
        self._ahead: dict[int, ClaudeOutput] = {}

    def add(self, output: ClaudeOutput) -> list[ClaudeOutput]:
        """Show a record; return what is now in turn."""
        if output.attempt > self._attempt:
            self._attempt, self._next = output.attempt, 1
            self._ahead.clear()
        if output.attempt == self._attempt and output.sequence >= self._next:
            self._ahead.setdefault(output.sequence, output)
        in_turn: list[ClaudeOutput] = []
        while self._next in self._ahead:
            in_turn.append(self._ahead.pop(self._next))
            self._next += 1
        return in_turn
