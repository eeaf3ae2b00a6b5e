"""The rank of a command that waits in an inbox: a glance at the record, before it is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from eldermesh.contract.cloudevents import CANCEL
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.vocabulary import MAX_RECORD_BYTES
from shared.consumer.record import ConsumedRecord
from shared.history.owner_parts import Rank
from shared.priorities import PRIORITIES

_TENANT: str = JobSubmit.model_fields["tenant"].default
_PRIORITY: str = JobSubmit.model_fields["priority"].default

_CANCELS = ""
"""Cancels take turns with tenants: a tenant's submits do not hold up the cancels of all."""

_MOST_CHARACTERS = 64
"""Of a tenant's name: a longer one is none, and would be kept for as long as its record is."""


@dataclass(frozen=True, slots=True)
class CommandRanking:
    """`Ranking` of the records of `jobs`, or of the inbox of one tenant.

    It believes what a record says; whether that is valid, admission finds out. What is no command for sure comes last:
    nobody waits for more than its dead letter. A cancel comes with the interactive jobs.

    Args:
        weight_of: the weight of a tenant.
        tenant_of_inbox: the only tenant of this inbox; None if each record names its own.
    """

    weight_of: Callable[[str], float]
    tenant_of_inbox: str | None = None

    def __call__(self, record: ConsumedRecord, order: int) -> Rank:
        """By priority, fair among tenants, in the order in which they came. Milliseconds for the largest record."""
        value = _value(record)
        if value is None:
            return self._rank("batch", _TENANT, order)
        if record.header("ce_type") == CANCEL:
            return Rank(PRIORITIES["interactive"], order, _CANCELS, 1.0)
        return self._rank(value.get("priority"), value.get("tenant"), order)

    def _rank(self, priority: object, tenant: object, order: int) -> Rank:
        is_name = isinstance(tenant, str) and 0 < len(tenant) <= _MOST_CHARACTERS
        name = self.tenant_of_inbox or (str(tenant) if is_name else _TENANT)
        level = priority if isinstance(priority, str) and priority in PRIORITIES else _PRIORITY
        return Rank(PRIORITIES[level], order, name, self.weight_of(name))


def _value(record: ConsumedRecord) -> dict[str, object] | None:
    if not record.value or record.size_bytes > MAX_RECORD_BYTES:
        return None
    try:
        value = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
