"""All names of metrics, declared once. `docs/reference/telemetry.md` has the same table; a test compares."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from shared.telemetry.names import (
    ENGINE,
    ERROR_TYPE,
    HOUSEKEEPING_OUTCOME,
    ITEM_STATUS,
    JOB_STATUS,
    JOB_TENANT,
    JOB_WORKLOAD,
    MESSAGING_CONSUMER_GROUP_NAME,
    MESSAGING_DESTINATION_NAME,
    MESSAGING_DESTINATION_PARTITION_ID,
    NOTIFICATION_CHANNEL,
    NOTIFICATION_OUTCOME,
    REQUEST_OUTCOME,
    REQUEST_STATUS,
    REQUEST_TENANT,
    SAGE,
    SAGE_STATUS,
    TOKEN_KIND,
)

_PROMETHEUS_UNITS = {"s": "seconds", "By": "bytes"}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name, instrument, unit (UCUM), what it measures, by which attributes."""

    name: str
    instrument: Literal["counter", "histogram", "gauge"]
    unit: str
    meaning: str
    attributes: tuple[str, ...]

    @property
    def prometheus_name(self) -> str:
        """Its name in a Prometheus that takes OTLP; of a histogram without `_bucket`, `_sum` or `_count`."""
        words = re.findall(r"[A-Za-z0-9]+", self.name)
        unit = "" if self.unit.startswith("{") else _PROMETHEUS_UNITS.get(self.unit, self.unit)
        if unit and unit not in words:
            words.append(unit)
        return "_".join([*words, "total"] if self.instrument == "counter" else words)


def prometheus_label(attribute: str) -> str:
    """The name of an attribute as a label in Prometheus."""
    return attribute.replace(".", "_")


def _counter(name: str, unit: str, meaning: str, *attributes: str) -> Metric:
    return Metric(name, "counter", unit, meaning, attributes)


def _gauge(name: str, unit: str, meaning: str, *attributes: str) -> Metric:
    return Metric(name, "gauge", unit, meaning, attributes)


def _histogram(name: str, meaning: str, *attributes: str) -> Metric:
    return Metric(name, "histogram", "s", meaning, attributes)


RECORDS_CONSUMED: Final = _counter(
    "messaging.client.consumed.messages",
    "{message}",
    "records handed to a handler",
    MESSAGING_DESTINATION_NAME,
    MESSAGING_CONSUMER_GROUP_NAME,
)
RECORD_DURATION: Final = _histogram(
    "messaging.process.duration",
    "time to handle one record",
    MESSAGING_DESTINATION_NAME,
    MESSAGING_CONSUMER_GROUP_NAME,
    ERROR_TYPE,
)
DEAD_LETTERS: Final = _counter(
    "eldermesh.dead_letters", "{message}", "records published to `jobs.dead`", MESSAGING_DESTINATION_NAME, ERROR_TYPE
)
JOBS_ACCEPTED: Final = _counter(
    "eldermesh.jobs.accepted", "{job}", "submits that admission found valid", JOB_TENANT, JOB_WORKLOAD
)
JOBS_ENDED: Final = _counter(
    "eldermesh.jobs.ended",
    "{job}",
    "ends published",
    JOB_TENANT,
    JOB_WORKLOAD,
    JOB_STATUS,
)
JOB_DURATION: Final = _histogram(
    "eldermesh.job.duration", "from acceptance to end, holds and pauses included", JOB_WORKLOAD, JOB_STATUS, ENGINE
)
FACTS_FOLDED: Final = _counter(
    "eldermesh.facts.folded", "{fact}", "facts that the owner folded", MESSAGING_DESTINATION_NAME
)
OWNER_LAG: Final = _gauge(
    "eldermesh.owner.lag",
    "{fact}",
    "facts that the owner has yet to fold",
    MESSAGING_DESTINATION_NAME,
    MESSAGING_DESTINATION_PARTITION_ID,
)
OWNER_BATCH_DURATION: Final = _histogram(
    "eldermesh.owner.batch.duration", "one batch of the owner: fold, publish, advance, act", MESSAGING_DESTINATION_NAME
)
OWNERSHIPS_LOST: Final = _counter(
    "eldermesh.owner.lost",
    "{ownership}",
    "guarded calls that found that something had moved underneath",
    MESSAGING_DESTINATION_NAME,
)
CHUNKS_DISPATCHED: Final = _counter("eldermesh.chunks.dispatched", "{chunk}", "chunks handed to an engine", ENGINE)
CHUNKS_RUNNING: Final = _gauge("eldermesh.chunks.running", "{chunk}", "chunks that run in this process", ENGINE)
CHUNK_DURATION: Final = _histogram("eldermesh.chunk.duration", "one run of a chunk", ENGINE, JOB_WORKLOAD)
QUEUE_WAIT_DURATION: Final = _histogram(
    "eldermesh.queue_wait.duration", "from the dispatch of a chunk to its claim", ENGINE
)
QUEUE_DEPTH: Final = _gauge(
    "eldermesh.queue.depth",
    "{chunk}",
    "tasks that wait in an engine's queue, of all priorities",
    MESSAGING_DESTINATION_NAME,
)
QUEUE_UNACKNOWLEDGED: Final = _gauge(
    "eldermesh.queue.unacknowledged", "{chunk}", "tasks that Celery's workers hold, dead ones' included"
)
REDIS_MEMORY: Final = _gauge("eldermesh.redis.memory.used", "By", "memory that Redis uses")
REDIS_MEMORY_LIMIT: Final = _gauge(
    "eldermesh.redis.memory.limit", "By", "memory that Redis may use; none if `maxmemory` is not set"
)
HOUSEKEEPING_RUNS: Final = _counter(
    "eldermesh.housekeeping.runs", "{run}", "removals of old blobs, by what came of them", HOUSEKEEPING_OUTCOME
)
BLOBS_REMOVED: Final = _counter("eldermesh.blobs.removed", "{blob}", "old blobs that housekeeping removed")
ITEMS_ENDED: Final = _counter(
    "eldermesh.items.ended",
    "{item}",
    "items that a runner finished",
    JOB_WORKLOAD,
    ITEM_STATUS,
    ERROR_TYPE,
)
REQUESTS_ACCEPTED: Final = _counter(
    "eldermesh.requests.accepted", "{request}", "requests that admission found valid", REQUEST_TENANT
)
REQUESTS_ENDED: Final = _counter(
    "eldermesh.requests.ended",
    "{request}",
    "ends of requests published",
    REQUEST_STATUS,
)
REQUEST_DURATION: Final = _histogram(
    "eldermesh.request.duration", "from a request's acceptance to its end", REQUEST_STATUS
)
REQUESTS_RUNNING: Final = _gauge("eldermesh.requests.running", "{request}", "requests that run in this process")
PROMPTS_ENDED: Final = _counter(
    "eldermesh.prompts.ended",
    "{prompt}",
    "prompts that went through the Claude CLI, of jobs and requests",
    REQUEST_OUTCOME,
)
PROMPT_DURATION: Final = _histogram(
    "eldermesh.prompt.duration", "one prompt through the Claude CLI, repeats after a crash included", REQUEST_OUTCOME
)
PROMPT_TOKENS: Final = _counter(
    "eldermesh.prompts.tokens", "{token}", "tokens, as the Claude CLI reports them", TOKEN_KIND
)
PROMPT_COST: Final = _counter("eldermesh.prompts.cost", "USD", "cost, as the Claude CLI reports it")
JOBS_ADVISED: Final = _counter("eldermesh.jobs.advised", "{job}", "`job.advised` appended", JOB_WORKLOAD)
ADVICE_EXPIRED: Final = _counter(
    "eldermesh.advice.expired", "{job}", "jobs that nobody was asked about, since none waits any more"
)
SAGE_DURATION: Final = _histogram("eldermesh.sage.duration", "from a sage's question to its answer", SAGE, SAGE_STATUS)
MEMORY_SKIPPED: Final = _counter(
    "eldermesh.sage.memory.skipped", "{message}", "records that a memory could not take in", SAGE
)
NOTIFICATIONS_PLANNED: Final = _counter(
    "eldermesh.notifications.planned",
    "{notification}",
    "messages that rules want told",
    NOTIFICATION_CHANNEL,
)
NOTIFICATION_ATTEMPTS: Final = _counter(
    "eldermesh.notification.attempts",
    "{attempt}",
    "sends, by what came of them",
    NOTIFICATION_CHANNEL,
    NOTIFICATION_OUTCOME,
)
NOTIFICATIONS_FAILED: Final = _counter(
    "eldermesh.notifications.failed",
    "{notification}",
    "messages that were given up and became dead letters",
    NOTIFICATION_CHANNEL,
)

METRICS: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
