"""Exceptions named by the decision that follows; the last class before `MeshError` tells what the caller does."""

from __future__ import annotations

from eldermesh.contract.vocabulary import DeadLetterType


class MeshError(Exception):
    """Root of all errors of the mesh."""


class RetryableError(MeshError):
    """A dependency did not answer: rewind, back off, do it again. Nothing was acknowledged."""


class StillRunningError(RetryableError):
    """Something that was killed still runs: nobody may say that it has ended, or begin the same beside it."""


class DeadLetterError(MeshError):
    """The record can never succeed: publish it to the dead-letter topic and go on.

    Args:
        error_type: the word that goes into `dlq_error_type`.
        reason: one sentence for the sender, without secrets.
        job_id: the job the record speaks of, if that can be read or derived.
    """

    def __init__(self, error_type: DeadLetterType, reason: str, *, job_id: str | None = None) -> None:
        super().__init__(reason)
        self.error_type: DeadLetterType = error_type
        self.reason = reason
        self.job_id = job_id


class RecordTooLargeError(MeshError):
    """A topic will never take a record of this size: make it smaller, or a dead letter `too_large` of what it is of."""


class StopServiceError(MeshError):
    """Going on would do harm or help nobody: stop the service, say why, and wait for a person."""


class ConfigurationError(StopServiceError):
    """The settings or the topics contradict a promise; the message says what to change."""


class LostOwnershipError(MeshError):
    """The partition is no longer as it was loaded: drop all memory, confirm the assignment, load again."""
