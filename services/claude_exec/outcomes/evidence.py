"""What is known of one CLI run when it has ended."""

from __future__ import annotations

import time
from dataclasses import dataclass

from claude_agent_sdk import AssistantMessage, Message, RateLimitEvent, ResultMessage, SystemMessage

from services.claude_exec.cli.transport import Stop
from shared.backoff.asked_wait import LONGEST_SECONDS, seconds_until
from shared.text.surrogates import whole_characters

_SYNTHETIC = "<synthetic>"
"""The model name in messages that the CLI itself writes."""

_MAX_NAME_CHARACTERS = 256
"""Of a model's name, which the API's address may answer with any length."""


@dataclass(slots=True)
class Evidence:
    """The signs of one run. `take` gets its messages.

    Attributes:
        result: The CLI's own result, its last message if the run was complete.
        stopped: Why the conversation was stopped, if it was; `timed_out` and `killed` come from outside it.
        stop_message: The same for people.
        failure: An error of the SDK.
        error: The CLI's name of the last failed request.
        waits_for: HTTP status of the request that the CLI waits to retry, if its last message said so.
        waits_until: When it will retry, in seconds since 1970.
        limit_resets_at: When a limit that was reached ends, in seconds since 1970.
        model: Which model answered last.
        exit_status: Of the CLI, or minus the signal that ended it; None without a start.
        stderr_tail: The end of its standard error.
    """

    result: ResultMessage | None = None
    stopped: Stop | None = None
    timed_out: bool = False
    killed: bool = False
    stop_message: str = ""
    failure: str = ""
    error: str | None = None
    waits_for: int | None = None
    waits_until: float | None = None
    limit_resets_at: float | None = None
    model: str | None = None
    exit_status: int | None = None
    stderr_tail: str = ""

    def take(self, message: Message) -> None:
        """Record what a message says."""
        self.waits_for = self.waits_until = None
        match message:
            case ResultMessage():
                self.result = message
            case AssistantMessage():
                self.error = message.error
                name: object = message.model  # as it came
                if isinstance(name, str) and name != _SYNTHETIC:
                    self.model = whole_characters(name)[:_MAX_NAME_CHARACTERS]
            case SystemMessage(subtype="api_retry", data=data):
                status = data.get("error_status")
                self.waits_for = status if isinstance(status, int) else 0
                self.waits_until = _in_milliseconds(data.get("retry_delay_ms"))
            case RateLimitEvent(rate_limit_info=info) if info.status == "rejected":
                now = time.time()
                wait = seconds_until(info.resets_at, now)
                self.limit_resets_at = None if wait is None else now + wait
            case _:
                pass

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the reached limit still lasts, if the API said so."""
        end = self.waits_until if self.limit_resets_at is None else self.limit_resets_at
        return None if end is None else max(0.0, end - time.time())


def _in_milliseconds(delay_ms: object) -> float | None:
    """The time after a delay that the CLI reports; None if the value is not a delay."""
    if isinstance(delay_ms, bool) or not isinstance(delay_ms, int | float):
        return None
    return time.time() + delay_ms / 1000 if 0 <= delay_ms <= LONGEST_SECONDS * 1000 else None
