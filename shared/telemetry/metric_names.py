"""All names of metrics, declared once. `docs/reference/telemetry.md` has the same table; a test compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from shared.telemetry.names import (
    ENGINE,
    ERROR_TYPE,
    ITEM_STATUS,
    JOB_STATUS,
    JOB_TENANT,
    JOB_WORKLOAD,
    MESSAGING_CONSUMER_GROUP_NAME,
    MESSAGING_DESTINATION_NAME,
    MESSAGING_DESTINATION_PARTITION_ID,
    NOTIFICATION_CHANNEL,
    NOTIFICATION_OUTCOME,
    REQUEST_STATUS,
    REQUEST_TENANT,
    SAGE,
    SAGE_STATUS,
)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name, instrument, unit (UCUM), what it measures, by which attributes."""

    name: str
    instrument: Literal["counter", "histogram", "gauge"]
    unit: str
    meaning: str
    attributes: tuple[str, ...] = ()


RECORDS_CONSUMED: Final = Metric(
    "messaging.client.consumed.messages",
    "counter",
    "{message}",
    "records handed to a handler",
    (MESSAGING_DESTINATION_NAME, MESSAGING_CONSUMER_GROUP_NAME),
)
RECORD_DURATION: Final = Metric(
    "messaging.process.duration",
    "histogram",
    "s",
    "time to handle one record",
    (MESSAGING_DESTINATION_NAME, MESSAGING_CONSUMER_GROUP_NAME, ERROR_TYPE),
)
DEAD_LETTERS: Final = Metric(
    "eldermesh.dead_letters",
    "counter",
    "{message}",
    "records published to `jobs.dead`",
    (MESSAGING_DESTINATION_NAME, ERROR_TYPE),
)
JOBS_ACCEPTED: Final = Metric(
    "eldermesh.jobs.accepted", "counter", "{job}", "submits that admission found valid", (JOB_TENANT, JOB_WORKLOAD)
)
JOBS_ENDED: Final = Metric(
    "eldermesh.jobs.ended",
    "counter",
    "{job}",
    "ends published, repeats after a crash included",
    (JOB_TENANT, JOB_WORKLOAD, JOB_STATUS),
)
JOB_DURATION: Final = Metric(
    "eldermesh.job.duration",
    "histogram",
    "s",
    "from acceptance to end, holds and pauses included",
    (JOB_WORKLOAD, JOB_STATUS, ENGINE),
)
FACTS_FOLDED: Final = Metric(
    "eldermesh.facts.folded", "counter", "{fact}", "facts that the owner folded", (MESSAGING_DESTINATION_NAME,)
)
OWNER_LAG: Final = Metric(
    "eldermesh.owner.lag",
    "gauge",
    "{fact}",
    "facts that the owner has yet to fold",
    (MESSAGING_DESTINATION_NAME, MESSAGING_DESTINATION_PARTITION_ID),
)
OWNER_BATCH_DURATION: Final = Metric(
    "eldermesh.owner.batch.duration",
    "histogram",
    "s",
    "one batch of the owner: fold, publish, advance, act",
    (MESSAGING_DESTINATION_NAME,),
)
OWNERSHIPS_LOST: Final = Metric(
    "eldermesh.owner.lost",
    "counter",
    "{ownership}",
    "guarded calls that found that something had moved underneath",
    (MESSAGING_DESTINATION_NAME,),
)
CHUNKS_DISPATCHED: Final = Metric(
    "eldermesh.chunks.dispatched", "counter", "{chunk}", "chunks handed to an engine, repeats included", (ENGINE,)
)
CHUNKS_RUNNING: Final = Metric(
    "eldermesh.chunks.running", "gauge", "{chunk}", "chunks that run in this process", (ENGINE,)
)
CHUNK_DURATION: Final = Metric(
    "eldermesh.chunk.duration", "histogram", "s", "one run of a chunk", (ENGINE, JOB_WORKLOAD)
)
QUEUE_WAIT_DURATION: Final = Metric(
    "eldermesh.queue_wait.duration", "histogram", "s", "from the dispatch of a chunk to its claim", (ENGINE,)
)
QUEUE_DEPTH: Final = Metric(
    "eldermesh.queue.depth",
    "gauge",
    "{chunk}",
    "tasks that wait in an engine's queue, of all priorities",
    (MESSAGING_DESTINATION_NAME,),
)
QUEUE_UNACKNOWLEDGED: Final = Metric(
    "eldermesh.queue.unacknowledged", "gauge", "{chunk}", "tasks that Celery's workers hold, dead ones' included", ()
)
ITEMS_ENDED: Final = Metric(
    "eldermesh.items.ended",
    "counter",
    "{item}",
    "items that a runner finished, repeats included",
    (JOB_WORKLOAD, ITEM_STATUS, ERROR_TYPE),
)
REQUESTS_ACCEPTED: Final = Metric(
    "eldermesh.requests.accepted", "counter", "{request}", "requests that admission found valid", (REQUEST_TENANT,)
)
REQUESTS_ENDED: Final = Metric(
    "eldermesh.requests.ended",
    "counter",
    "{request}",
    "ends of requests published, repeats after a crash included",
    (REQUEST_STATUS,),
)
REQUEST_DURATION: Final = Metric(
    "eldermesh.request.duration", "histogram", "s", "from a request's acceptance to its end", (REQUEST_STATUS,)
)
REQUESTS_RUNNING: Final = Metric(
    "eldermesh.requests.running", "gauge", "{request}", "requests that run in this process", ()
)
JOBS_ADVISED: Final = Metric(
    "eldermesh.jobs.advised", "counter", "{job}", "`job.advised` appended, repeats included", (JOB_WORKLOAD,)
)
ADVICE_EXPIRED: Final = Metric(
    "eldermesh.advice.expired", "counter", "{job}", "jobs that nobody was asked about, since none waits any more", ()
)
SAGE_DURATION: Final = Metric(
    "eldermesh.sage.duration", "histogram", "s", "from a sage's question to its answer", (SAGE, SAGE_STATUS)
)
MEMORY_SKIPPED: Final = Metric(
    "eldermesh.sage.memory.skipped", "counter", "{message}", "records that a memory could not take in", (SAGE,)
)
NOTIFICATIONS_PLANNED: Final = Metric(
    "eldermesh.notifications.planned",
    "counter",
    "{notification}",
    "messages that rules want told, repeats included",
    (NOTIFICATION_CHANNEL,),
)
NOTIFICATION_ATTEMPTS: Final = Metric(
    "eldermesh.notification.attempts",
    "counter",
    "{attempt}",
    "sends, by what came of them",
    (NOTIFICATION_CHANNEL, NOTIFICATION_OUTCOME),
)
NOTIFICATIONS_FAILED: Final = Metric(
    "eldermesh.notifications.failed",
    "counter",
    "{notification}",
    "messages that were given up and became dead letters, repeats after a crash included",
    (NOTIFICATION_CHANNEL,),
)

METRICS: tuple[Metric, ...] = (
    RECORDS_CONSUMED,
    RECORD_DURATION,
    DEAD_LETTERS,
    JOBS_ACCEPTED,
    JOBS_ENDED,
    JOB_DURATION,
    FACTS_FOLDED,
    OWNER_LAG,
    OWNER_BATCH_DURATION,
    OWNERSHIPS_LOST,
    CHUNKS_DISPATCHED,
    CHUNKS_RUNNING,
    CHUNK_DURATION,
    QUEUE_WAIT_DURATION,
    QUEUE_DEPTH,
    QUEUE_UNACKNOWLEDGED,
    ITEMS_ENDED,
    REQUESTS_ACCEPTED,
    REQUESTS_ENDED,
    REQUEST_DURATION,
    REQUESTS_RUNNING,
    JOBS_ADVISED,
    ADVICE_EXPIRED,
    SAGE_DURATION,
    MEMORY_SKIPPED,
    NOTIFICATIONS_PLANNED,
    NOTIFICATION_ATTEMPTS,
    NOTIFICATIONS_FAILED,
)
