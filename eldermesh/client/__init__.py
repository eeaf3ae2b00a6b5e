"""The Python client of a mesh. Imports the contract and nothing else of the project."""

from eldermesh.client.client import Client
from eldermesh.client.errors import (
    AccessRefusedError,
    ClientError,
    ContractBrokenError,
    InvalidJobError,
    JobDeadError,
    MeshUnavailableError,
    RecordTooLargeError,
    RequestDeadError,
    TemporaryFileError,
    TopicsMissingError,
    WaitTimeoutError,
)
from eldermesh.client.prompts import SentRequest
from eldermesh.client.submission import SentRecord, SubmittedJob

__all__ = [
    "AccessRefusedError",
    "Client",
    "ClientError",
    "ContractBrokenError",
    "InvalidJobError",
    "JobDeadError",
    "MeshUnavailableError",
    "RecordTooLargeError",
    "RequestDeadError",
    "SentRecord",
    "SentRequest",
    "SubmittedJob",
    "TemporaryFileError",
    "TopicsMissingError",
    "WaitTimeoutError",
]
