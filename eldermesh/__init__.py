"""ElderMesh: an event-driven mesh that runs jobs and can say what became of each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eldermesh.client import Client
    from eldermesh.contract.commands import JobSubmit
    from eldermesh.contract.ends import JobEnd
    from eldermesh.contract.results import ItemResult, JobProgress
    from eldermesh.kafka.access import KafkaSecurity

__all__ = ["Client", "ItemResult", "JobEnd", "JobProgress", "JobSubmit", "KafkaSecurity"]

_HOMES = {
    "Client": "eldermesh.client",
    "ItemResult": "eldermesh.contract.results",
    "JobEnd": "eldermesh.contract.ends",
    "JobProgress": "eldermesh.contract.results",
    "JobSubmit": "eldermesh.contract.commands",
    "KafkaSecurity": "eldermesh.kafka.access",
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: the contract alone must not pull in the Kafka client."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only those who ask pay for it

    return getattr(import_module(_HOMES[name]), name)
