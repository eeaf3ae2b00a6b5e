"""All topics and consumer groups in one place, named without the environment's prefix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from eldermesh.contract import topics as public
from eldermesh.contract.tenants import inbox_of_tenant

JOBS = public.JOBS
JOBS_DECISIONS = public.JOBS_DECISIONS
JOBS_PROGRESS = public.JOBS_PROGRESS
JOBS_DONE = public.JOBS_DONE
JOBS_HOLDS = public.JOBS_HOLDS
JOBS_DEAD = public.JOBS_DEAD
JOBS_HISTORY = "jobs.history"
CLAUDE_REQUESTS = public.CLAUDE_REQUESTS
CLAUDE_HISTORY = "claude.history"
CLAUDE_OUTPUT = public.CLAUDE_OUTPUT
NOTIFICATIONS = "notifications"
SAGES_NOTES = "sages.notes"
SAGES_DOCUMENTS = "sages.documents"
MESH_META = "mesh.meta"

_DAY_MS = 24 * 3600 * 1000
_KIB = 1024
SEGMENT_MS = _DAY_MS
PUBLIC_RETENTION_MS = 7 * _DAY_MS
HISTORY_RETENTION_MS = 16 * _DAY_MS
"""Retention of the public topics (7 days) + `max_job_age` (7 days) + two segments of a day."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What `mesh topics apply` creates and holds a topic to; `partitions` None means as many as the mesh has."""

    name: str
    cleanup_policy: Literal["delete", "compact"]
    retention_ms: int | None = None
    partitions: int | None = None
    log_append_time: bool = False
    max_message_bytes: int = 1024 * _KIB

    def config(self) -> dict[str, str]:
        """The topic's configuration as Kafka names it."""
        config = {
            "cleanup.policy": self.cleanup_policy,
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime" if self.log_append_time else "CreateTime",
            "segment.ms": str(SEGMENT_MS),
        }
        if self.retention_ms is not None:
            config["retention.ms"] = str(self.retention_ms)
            config["retention.bytes"] = "-1"
        return config


def _inbox(name: str) -> TopicSpec:
    return TopicSpec(name, "delete", PUBLIC_RETENTION_MS)


def tenant_inbox(tenant: str) -> TopicSpec:
    """The inbox of a tenant: as `jobs`."""
    return _inbox(inbox_of_tenant(tenant))


def _history(name: str) -> TopicSpec:
    return TopicSpec(name, "delete", HISTORY_RETENTION_MS, log_append_time=True)


TOPICS: tuple[TopicSpec, ...] = (
    _inbox(JOBS),
    _inbox(JOBS_DECISIONS),
    _inbox(CLAUDE_REQUESTS),
    _history(JOBS_HISTORY),
    _history(CLAUDE_HISTORY),
    _history(NOTIFICATIONS),
    TopicSpec(JOBS_PROGRESS, "delete", PUBLIC_RETENTION_MS),
    TopicSpec(JOBS_DONE, "delete", PUBLIC_RETENTION_MS),
    TopicSpec(JOBS_HOLDS, "delete", PUBLIC_RETENTION_MS),
    TopicSpec(CLAUDE_OUTPUT, "delete", _DAY_MS),
    TopicSpec(JOBS_DEAD, "delete", 30 * _DAY_MS, max_message_bytes=(1024 + 256) * _KIB),
    TopicSpec(SAGES_NOTES, "compact"),
    TopicSpec(SAGES_DOCUMENTS, "compact"),
    TopicSpec(MESH_META, "compact", partitions=1),
)

# Consumer groups, one for each topic: members that read different topics make each other rejoin.
ROUTER_OWNERS = "eldermesh.router"
ROUTER_INBOXES: Mapping[str, str] = {JOBS: "eldermesh.admission", JOBS_DECISIONS: "eldermesh.admission.decisions"}
"""Group by inbox, both without prefix; those of tenants are in `router_inboxes`."""


def router_inboxes(tenants: Iterable[str]) -> Mapping[str, str]:
    """Group by inbox, both without prefix, those of these tenants included."""
    return {**ROUTER_INBOXES, **{inbox_of_tenant(tenant): tenant_group(tenant) for tenant in tenants}}


def tenant_group(tenant: str) -> str:
    """The group, without prefix, that reads the inbox of a tenant."""
    return f"eldermesh.admission.tenant.{tenant}"


CLAUDE_OWNERS = "eldermesh.claude_exec"
CLAUDE_INBOX = "eldermesh.claude_exec.admission"

NOTIFIER_OWNERS = "eldermesh.notifier"
NOTIFIER_ENDS = "eldermesh.notifier.ends"
NOTIFIER_HOLDS = "eldermesh.notifier.holds"

SAGES_PANEL = "eldermesh.sages"
"""Its members share the jobs that want advice."""
