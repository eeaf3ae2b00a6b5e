"""Job ids: given by the client, or derived so that a repeat of the same submit is the same job."""

from __future__ import annotations

from uuid import UUID, uuid5

NAMESPACE = UUID("539e12d6-e539-5988-99a8-8d12a76dda42")
"""Namespace of all derived job ids (RFC 9562, version 5)."""


def job_id_from_key(tenant: str, idempotency_key: str) -> str:
    """Job id of a submit with an idempotency key; keys of different tenants never meet."""
    return str(uuid5(NAMESPACE, f"key\n{tenant}\n{idempotency_key}"))


def job_id_from_cloud_event(tenant: str, ce_source: str, ce_id: str) -> str:
    """Job id of a submit known by its CloudEvents identity."""
    return str(uuid5(NAMESPACE, f"ce\n{tenant}\n{ce_source}\n{ce_id}"))


def job_id_from_record(topic: str, partition: int, offset: int) -> str:
    """Job id of an anonymous submit: protects against redelivery of the record only, not against sending it twice.

    `topic` is the name without the environment's prefix.
    """
    return str(uuid5(NAMESPACE, f"record\n{topic}\n{partition}\n{offset}"))


def request_id_from_key(tenant: str, idempotency_key: str) -> str:
    """Id of a Claude request with an idempotency key: never that of a job with the same key."""
    return str(uuid5(NAMESPACE, f"claude key\n{tenant}\n{idempotency_key}"))


def request_id_from_cloud_event(tenant: str, ce_source: str, ce_id: str) -> str:
    """Id of a Claude request known by its CloudEvents identity."""
    return str(uuid5(NAMESPACE, f"claude ce\n{tenant}\n{ce_source}\n{ce_id}"))


def trace_id_of(job_id: str) -> str:
    """Trace id (32 hex digits) of a job that came without a trace context: the 16 bytes of its id."""
    return UUID(job_id).hex
