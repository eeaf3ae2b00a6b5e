"""What can go wrong in the client, each error named after what its caller does next."""

from __future__ import annotations

from eldermesh.contract.vocabulary import DeadLetterType


class ClientError(Exception):
    """Root of all errors of the client."""


class InvalidJobError(ClientError):
    """The submit breaks the contract and was not sent: correct it."""


class RecordTooLargeError(InvalidJobError):
    """The record is above what an inline job may have and was not sent: split its items over several jobs.

    Args:
        size_bytes: value, key and headers together.
        limit_bytes: the largest that is allowed.
    """

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the job takes {size_bytes} bytes as a record, at most {limit_bytes} are allowed: "
            "split its items over several jobs"
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class MeshUnavailableError(ClientError):
    """The broker did not answer, or the record was not acknowledged: try again later.

    A submit with a `job_id` or an `idempotency_key` may be sent again without harm.
    """


class AccessRefusedError(ClientError):
    """Kafka refuses this client: correct its `security`, or have an ACL added; trying again does not help."""


class TopicsMissingError(MeshUnavailableError):
    """The broker answers, but has no topics of a mesh under this prefix: run `mesh topics apply`, or check it."""


class JobDeadError(ClientError):
    """The submit was refused and lies on `jobs.dead`: correct it and submit again.

    Args:
        job_id: the job as the client knows it.
        error_type: `conflict` means that the id belongs to a job with other content, which goes on undisturbed.
        reason: one sentence from the mesh.
    """

    def __init__(self, job_id: str, error_type: DeadLetterType, reason: str) -> None:
        super().__init__(f"job {job_id} is dead ({error_type}): {reason}")
        self.job_id = job_id
        self.error_type: DeadLetterType = error_type
        self.reason = reason


class RequestDeadError(JobDeadError):
    """As `JobDeadError`, of a prompt on its own: `job_id` is its request id."""

    def __init__(self, request_id: str, error_type: DeadLetterType, reason: str) -> None:
        super().__init__(request_id, error_type, reason)
        self.args = (f"request {request_id} is dead ({error_type}): {reason}",)


class WaitTimeoutError(ClientError):
    """The time given is over and the outcome is unknown: the job goes on; wait again."""


class TemporaryFileError(ClientError):
    """A temporary file cannot be written: make room, or let `TMPDIR` name a directory that has some."""


class ContractBrokenError(ClientError):
    """A record on a public topic breaks the contract: report it; waiting longer does not help."""
