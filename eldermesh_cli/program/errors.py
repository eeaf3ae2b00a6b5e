"""How a verb fails: with an exit status, a word for scripts, a sentence and a hint for people."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """What the exit status of `mesh` says; the numbers are the contract's."""

    OK = 0
    NOT_COMPLETED = 1
    """The job did not complete, an invariant is broken, or a check failed."""
    USAGE = 2
    UNAVAILABLE = 3
    NOT_FOUND = 4
    """No such job, or its id belongs to other content."""
    UNKNOWN = 5
    """Waited long enough; the outcome is not known."""
    BUG = 70
    """An error of this program (`EX_SOFTWARE` of sysexits.h)."""
    INTERRUPTED = 130
    """Ended by Ctrl-C, as shells report SIGINT."""


class CliError(Exception):
    """A verb ends here; `main` says why on standard error.

    Args:
        status: the exit status.
        error_type: one lower-case word for scripts.
        message: what happened, one sentence.
        hint: what to do about it.
    """

    def __init__(self, status: ExitStatus, error_type: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.hint = hint


def usage_error(message: str, hint: str | None = None) -> CliError:
    """What was asked for cannot be asked for."""
    return CliError(ExitStatus.USAGE, "usage", message, hint)


def unavailable(message: str, hint: str | None = None) -> CliError:
    """A part of the mesh does not answer."""
    return CliError(ExitStatus.UNAVAILABLE, "unavailable", message, hint)


def refused(message: str) -> CliError:
    """Kafka is there and refuses this user."""
    hint = (
        "check MESH_KAFKA_SECURITY and the settings beside it, and Kafka's ACLs; `mesh config` shows what is in force"
    )
    return CliError(ExitStatus.UNAVAILABLE, "refused", message, hint)


def not_found(message: str, hint: str | None = None) -> CliError:
    """What was named is not there."""
    return CliError(ExitStatus.NOT_FOUND, "not_found", message, hint)


def conflict(message: str, hint: str | None = None) -> CliError:
    """What was asked for does not fit what is there."""
    return CliError(ExitStatus.NOT_FOUND, "conflict", message, hint)


def outcome_unknown(message: str, hint: str | None = None) -> CliError:
    """The wait is over and nothing is certain."""
    return CliError(ExitStatus.UNKNOWN, "timeout", message, hint)
