"""Inboxes of tenants: `jobs.<tenant>` takes what `jobs` takes, for one tenant alone. An ACL says who may write."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Final

from pydantic import AfterValidator

from eldermesh.contract.topics import JOBS
from eldermesh.contract.vocabulary import NAME_PATTERN, Name

NOT_TENANTS: Final = frozenset({"decisions", "progress", "done", "holds", "dead", "history"})
"""`jobs.<word>` is a topic of the mesh itself."""


def _not_a_topic(tenant: str) -> str:
    if tenant in NOT_TENANTS:
        raise ValueError(f"tenant {tenant} cannot have an inbox, because {JOBS}.{tenant} is a topic of the mesh itself")
    return tenant


InboxTenant = Annotated[Name, AfterValidator(_not_a_topic)]
"""A tenant that can have an inbox."""


def inbox_of_tenant(tenant: str) -> str:
    """The inbox of a tenant, without the environment's prefix."""
    return f"{JOBS}.{tenant}"


def tenant_of_inbox(topic: str) -> str | None:
    """The only tenant of an inbox (named without prefix); None for `jobs` and for whatever is no inbox of a tenant."""
    stem, _, tenant = topic.partition(".")
    is_inbox = stem == JOBS and tenant not in NOT_TENANTS and re.fullmatch(NAME_PATTERN, tenant) is not None
    return tenant if is_inbox else None


def is_job_inbox(topic: str) -> bool:
    """Whether a topic (named without prefix) takes submits: `jobs`, or the inbox of a tenant."""
    return topic == JOBS or tenant_of_inbox(topic) is not None


def distinct_tenants(tenants: tuple[str, ...]) -> tuple[str, ...]:
    """The same tenants, once it is clear that Kafka can tell their topics apart.

    Raises:
        ValueError: two are the same, or differ only by `.` and `_`.
    """
    # Kafka's metrics write `.` as `_`, so a broker refuses the second of two such topics.
    seen = Counter(tenant.replace(".", "_") for tenant in tenants)
    alike = [tenant for tenant in tenants if seen[tenant.replace(".", "_")] > 1]
    if alike:
        raise ValueError(f"{' and '.join(alike)} would be one topic to Kafka: let them differ by more than . and _")
    return tenants
