"""Which promises of the mesh a topic as it stands would break. Pure: no broker is asked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eldermesh.contract.tenants import inbox_of_tenant
from eldermesh.contract.vocabulary import MAX_RECORD_BYTES
from shared.kafka import topics
from shared.kafka.topics import TOPICS, TopicSpec, tenant_inbox
from shared.settings import Settings

INFINITE = -1
"""Kafka's word for "no limit" in `retention.ms` and `retention.bytes`."""

_CLUSTER_REPLICATION = 3
_KAFKA_SEGMENT_MS = 7 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as this mesh needs it: full name, number of partitions and replicas, configuration as Kafka names it."""

    name: str
    spec: TopicSpec
    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ExistingTopic:
    """A topic as the broker describes it. `config` holds only what the broker answers."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RefusedTopic:
    """A topic that cannot serve this mesh, and why."""

    name: str
    reason: str


def wanted_topics(settings: Settings, brokers: int) -> tuple[WantedTopic, ...]:
    """Every topic of the mesh, inboxes of tenants included, for a cluster of so many brokers.

    Three replicas of which two have to acknowledge, where there are three brokers. Histories are kept longer than
    `shared.kafka.topics` says if `max_job_age_seconds` asks for it.
    """
    replication = min(_CLUSTER_REPLICATION, max(1, brokers))
    specs = (*TOPICS, *map(tenant_inbox, settings.tenants))
    return tuple(_wanted(spec, settings, replication) for spec in specs)


def _wanted(spec: TopicSpec, settings: Settings, replication: int) -> WantedTopic:
    config = spec.config()
    if spec.log_append_time:
        needed = _history_retention_ms(settings, topics.PUBLIC_RETENTION_MS, topics.SEGMENT_MS)
        config["retention.ms"] = str(max(spec.retention_ms or 0, needed))
    if replication > 1:
        config["min.insync.replicas"] = str(replication - 1)
    partitions = settings.partition_count if spec.partitions is None else spec.partitions
    return WantedTopic(settings.topic(spec.name), spec, partitions, replication, config)


def _history_retention_ms(settings: Settings, public_retention_ms: int, segment_ms: int) -> int:
    """Least retention of a history: what is public, plus the longest job, plus two segments.

    An id is then forgotten only after its end has left `jobs.done`, and no fact of a live job is ever deleted.
    """
    return public_retention_ms + round(settings.max_job_age_seconds * 1000) + 2 * segment_ms


def broken_promises(
    settings: Settings, wanted: tuple[WantedTopic, ...], existing: Mapping[str, ExistingTopic]
) -> tuple[RefusedTopic, ...]:
    """The existing topics that break a promise, with all their reasons, in the order of `shared.kafka.topics`."""
    relations = _Relations(settings, existing)
    refused: list[RefusedTopic] = []
    for topic in wanted:
        found = existing.get(topic.name)
        if found is None:
            continue
        reasons = [*_shape(topic, found), *_policy(topic, found), *relations.reasons(topic, found)]
        if reasons:
            refused.append(RefusedTopic(topic.name, "; ".join(reasons)))
    return tuple(refused)


def _shape(topic: WantedTopic, found: ExistingTopic) -> list[str]:
    reasons: list[str] = []
    if found.partitions != topic.partitions:
        reasons.append(
            f"it has {found.partitions} partitions instead of {topic.partitions}, and keys would move: "
            "set MESH_PARTITIONS to what it has, or use another MESH_TOPIC_PREFIX"
        )
    if found.replication < topic.replication:
        reasons.append(f"it has {found.replication} replicas instead of {topic.replication}")
    insync, wanted = found.config.get("min.insync.replicas"), topic.config.get("min.insync.replicas")
    if insync is not None and wanted is not None and int(insync) < int(wanted):
        reasons.append(f"min.insync.replicas is {insync} instead of {wanted}, so one dead broker could lose records")
    if found.config.get("unclean.leader.election.enable") == "true":
        reasons.append("unclean.leader.election.enable is true, so acknowledged records could be lost")
    return reasons


def _policy(topic: WantedTopic, found: ExistingTopic) -> list[str]:
    reasons: list[str] = []
    config, spec = found.config, topic.spec
    policy = config.get("cleanup.policy", spec.cleanup_policy)
    if policy != spec.cleanup_policy:
        why = "a history that is compacted loses facts" if spec.log_append_time else "records would be lost or stay"
        reasons.append(f"cleanup.policy is {policy!r} instead of {spec.cleanup_policy!r}: {why}")
    if spec.cleanup_policy == "delete":
        retention_bytes = config.get("retention.bytes", str(INFINITE))
        if int(retention_bytes) != INFINITE:
            reasons.append(f"retention.bytes is {retention_bytes}: records would go before their time")
        retention = _retention_ms(found)
        # A history's retention follows from the other topics; see _Relations.
        if retention is not None and not spec.log_append_time and _shorter(retention, spec.retention_ms or 0):
            reasons.append(f"retention.ms is {retention} instead of at least {spec.retention_ms}")
    if spec.log_append_time and config.get("message.timestamp.type", "LogAppendTime") != "LogAppendTime":
        reasons.append("message.timestamp.type is CreateTime: a producer's clock would make the times of facts")
    size = config.get("max.message.bytes")
    if size is not None and int(size) < spec.max_message_bytes:
        reasons.append(f"max.message.bytes is {size} instead of at least {spec.max_message_bytes}")
    return reasons


class _Relations:
    """What one topic promises about another; where a topic does not exist yet, as it would be created."""

    def __init__(self, settings: Settings, existing: Mapping[str, ExistingTopic]) -> None:
        self._settings = settings
        self._existing = existing
        progress, done = self._public_retention(topics.JOBS_PROGRESS), self._public_retention(topics.JOBS_DONE)
        self._progress_and_done_differ = progress != done
        self._public_ms = INFINITE if INFINITE in {progress, done} else max(progress, done)

    def _found(self, name: str) -> ExistingTopic | None:
        return self._existing.get(self._settings.topic(name))

    def _public_retention(self, name: str) -> int:
        found = self._found(name)
        retention = None if found is None else _retention_ms(found)
        return topics.PUBLIC_RETENTION_MS if retention is None else retention

    def reasons(self, topic: WantedTopic, found: ExistingTopic) -> list[str]:
        """What `found` breaks towards the others."""
        if topic.spec.log_append_time:
            return self._history_too_short(found)
        if topic.spec.name in {topics.JOBS_PROGRESS, topics.JOBS_DONE} and self._progress_and_done_differ:
            return ["retention.ms of jobs.progress and jobs.done differ: results and ends have to go together"]
        if topic.spec.name == topics.JOBS_DEAD:
            return self._dead_letters_too_small(found)
        return []

    def _history_too_short(self, found: ExistingTopic) -> list[str]:
        retention = _retention_ms(found)
        if retention is None or retention == INFINITE:
            return []
        if self._public_ms == INFINITE:
            return ["retention.ms has to be -1, because jobs.progress or jobs.done are kept for ever"]
        segment_ms = int(found.config.get("segment.ms", _KAFKA_SEGMENT_MS))
        needed = _history_retention_ms(self._settings, self._public_ms, segment_ms)
        if retention >= needed:
            return []
        why = "that of jobs.progress and jobs.done + max_job_age_seconds + two segments"
        return [f"retention.ms is {retention} instead of at least {needed} ({why})"]

    def _dead_letters_too_small(self, found: ExistingTopic) -> list[str]:
        mine = found.config.get("max.message.bytes")
        reasons: list[str] = []
        for inbox in (topics.JOBS, *map(inbox_of_tenant, self._settings.tenants)):
            there = self._found(inbox)
            theirs = None if there is None else there.config.get("max.message.bytes")
            if mine is not None and theirs is not None and int(mine) < int(theirs) + MAX_RECORD_BYTES:
                why = f"it has to exceed that of {inbox} ({theirs}) by {MAX_RECORD_BYTES}"
                reasons.append(f"max.message.bytes is {mine}: {why}")
        return reasons


def _retention_ms(found: ExistingTopic) -> int | None:
    text = found.config.get("retention.ms")
    return None if text is None else int(text)


def _shorter(retention: int, least: int) -> bool:
    return retention != INFINITE and retention < least
