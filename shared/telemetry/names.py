"""All names of spans and attributes, declared once. `docs/reference/telemetry.md` has the same tables; a test compares.

Where the OpenTelemetry messaging conventions have a name it is used; all others begin with `eldermesh.`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import SpanKind

# Attribute keys: the messaging conventions
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_DESTINATION_PARTITION_ID: Final = "messaging.destination.partition.id"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_CONSUMER_GROUP_NAME: Final = "messaging.consumer.group.name"
MESSAGING_KAFKA_OFFSET: Final = "messaging.kafka.offset"
MESSAGING_MESSAGE_BODY_SIZE: Final = "messaging.message.body.size"
ERROR_TYPE: Final = "error.type"

# Attribute keys: the mesh's own
JOB_ID: Final = "eldermesh.job.id"
JOB_TENANT: Final = "eldermesh.job.tenant"
JOB_WORKLOAD: Final = "eldermesh.job.workload"
JOB_STATUS: Final = "eldermesh.job.status"
JOB_ITEMS_TOTAL: Final = "eldermesh.job.items_total"
DECISION: Final = "eldermesh.decision"
DECIDED_BY: Final = "eldermesh.decision.by"
RISK: Final = "eldermesh.risk"
ADVICE: Final = "eldermesh.advice"
ENGINE: Final = "eldermesh.engine"
CHUNK_ID: Final = "eldermesh.chunk.id"
CHUNK_ITEMS: Final = "eldermesh.chunk.items"
CHUNK_ATTEMPT: Final = "eldermesh.chunk.attempt"
ITEM_INDEX: Final = "eldermesh.item.index"
ITEM_STATUS: Final = "eldermesh.item.status"
CLI_ATTEMPT: Final = "eldermesh_cli.attempt"
REASON: Final = "eldermesh.reason"
REQUEST_ID: Final = "eldermesh.request.id"
REQUEST_TENANT: Final = "eldermesh.request.tenant"
REQUEST_STATUS: Final = "eldermesh.request.status"
REQUEST_ATTEMPT: Final = "eldermesh.request.attempt"
REQUEST_OUTCOME: Final = "eldermesh.request.outcome"
SAGE: Final = "eldermesh.sage"
SAGE_STATUS: Final = "eldermesh.sage.status"
NOTIFICATION_ID: Final = "eldermesh.notification.id"
NOTIFICATION_EVENT: Final = "eldermesh.notification.event"
NOTIFICATION_RULE: Final = "eldermesh.notification.rule"
NOTIFICATION_CHANNEL: Final = "eldermesh.notification.channel"
NOTIFICATION_ATTEMPT: Final = "eldermesh.notification.attempt"
NOTIFICATION_OUTCOME: Final = "eldermesh.notification.outcome"

KAFKA: Final = "kafka"
"""Value of `messaging.system`."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute key and what its value means."""

    key: str
    meaning: str


@dataclass(frozen=True, slots=True)
class SpanName:
    """A span: its name, its kind, the names of the spans it is a child of (none: a root), what it covers."""

    name: str
    kind: SpanKind
    parents: tuple[str, ...]
    meaning: str
    attributes: tuple[str, ...] = ()


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(MESSAGING_SYSTEM, "always `kafka`"),
    Attribute(MESSAGING_DESTINATION_NAME, "topic, with the environment's prefix"),
    Attribute(MESSAGING_DESTINATION_PARTITION_ID, "partition, as text"),
    Attribute(MESSAGING_OPERATION_NAME, "`send` or `process`"),
    Attribute(MESSAGING_OPERATION_TYPE, "`send` or `process`"),
    Attribute(MESSAGING_CONSUMER_GROUP_NAME, "consumer group"),
    Attribute(MESSAGING_KAFKA_OFFSET, "offset of the record"),
    Attribute(MESSAGING_MESSAGE_BODY_SIZE, "bytes of the record's value"),
    Attribute(ERROR_TYPE, "the word that the public contract has for the failure"),
    Attribute(JOB_ID, "job id"),
    Attribute(JOB_TENANT, "tenant of the job"),
    Attribute(JOB_WORKLOAD, "workload of the job"),
    Attribute(JOB_STATUS, "how the job ended: `completed`, `failed`, `cancelled`, `rejected`"),
    Attribute(JOB_ITEMS_TOTAL, "items of the job"),
    Attribute(DECISION, "what was decided, as `route`, `refuse`, `hold`; of a hold how it ended, as `approved`"),
    Attribute(DECIDED_BY, "who approved or rejected"),
    Attribute(RISK, "what incident, or the router's own rules, said: `low`, `medium`, `high`, `critical`"),
    Attribute(ADVICE, "all that was said of the job, as JSON, the first 4,096 characters"),
    Attribute(ENGINE, "`celery` or `ray`"),
    Attribute(CHUNK_ID, "chunk id, `{job_id}/{stage}/{epoch}/{first}-{last}`"),
    Attribute(CHUNK_ITEMS, "items of the chunk that this run has to do"),
    Attribute(CHUNK_ATTEMPT, "1 + deaths of the chunk"),
    Attribute(ITEM_INDEX, "index of the item in its job"),
    Attribute(ITEM_STATUS, "`succeeded` or `failed`"),
    Attribute(CLI_ATTEMPT, "1 + CLIs that died before this one, of the same prompt"),
    Attribute(REASON, "one word or sentence that says why"),
    Attribute(REQUEST_ID, "id of a prompt that was asked for on its own"),
    Attribute(REQUEST_TENANT, "tenant of the request"),
    Attribute(REQUEST_STATUS, "how the request ended: `completed`, `failed`, `cancelled`"),
    Attribute(REQUEST_ATTEMPT, "number of the request's run, as on `claude.output`"),
    Attribute(REQUEST_OUTCOME, "class of a run's outcome, as `ok` or `timeout`"),
    Attribute(SAGE, "name of a sage, as `task`"),
    Attribute(SAGE_STATUS, "what came of asking it: `ok`, `late`, `failed`, `warming`"),
    Attribute(NOTIFICATION_ID, "id of a notification: the `webhook-id` of its message"),
    Attribute(NOTIFICATION_EVENT, "what is told: `end`, `hold:1`, `hold-reminder:1`"),
    Attribute(NOTIFICATION_RULE, "name of the rule that wants it told"),
    Attribute(NOTIFICATION_CHANNEL, "name of the channel"),
    Attribute(NOTIFICATION_ATTEMPT, "number of the send"),
    Attribute(NOTIFICATION_OUTCOME, "what came of a send: `sent`, `postponed`, `failed`, or why it was broken off"),
)

SEND_JOBS: Final = SpanName(
    "send jobs",
    SpanKind.PRODUCER,
    (),
    "the publisher sends a command and waits until Kafka has it",
    (MESSAGING_SYSTEM, MESSAGING_DESTINATION_NAME, MESSAGING_OPERATION_NAME, MESSAGING_OPERATION_TYPE, JOB_ID),
)
PROCESS_JOBS: Final = SpanName(
    "process jobs",
    SpanKind.CONSUMER,
    ("send jobs",),
    "one record of the inbox is handled; without a context in its headers a root, its trace id from the job id",
    (
        MESSAGING_SYSTEM,
        MESSAGING_DESTINATION_NAME,
        MESSAGING_DESTINATION_PARTITION_ID,
        MESSAGING_KAFKA_OFFSET,
        MESSAGING_CONSUMER_GROUP_NAME,
        MESSAGING_OPERATION_NAME,
        MESSAGING_OPERATION_TYPE,
        MESSAGING_MESSAGE_BODY_SIZE,
        JOB_ID,
        ERROR_TYPE,
    ),
)
SEND_DECISIONS: Final = SpanName(
    "send jobs.decisions",
    SpanKind.PRODUCER,
    (),
    "somebody sends a decision on a hold and waits until Kafka has it",
    SEND_JOBS.attributes,
)
PROCESS_DECISIONS: Final = SpanName(
    "process jobs.decisions",
    SpanKind.CONSUMER,
    ("send jobs.decisions",),
    PROCESS_JOBS.meaning,
    PROCESS_JOBS.attributes,
)
ACCEPT_JOB: Final = SpanName(
    "accept job",
    SpanKind.INTERNAL,
    ("process jobs",),
    "admission appends `job.accepted`; all that happens to the job later is below this span",
    (JOB_ID, JOB_TENANT, JOB_WORKLOAD, JOB_ITEMS_TOTAL),
)
PROCESS_HISTORY: Final = SpanName(
    "process jobs.history",
    SpanKind.CONSUMER,
    ("accept job",),
    "the sages' panel handles a `job.accepted`",
    PROCESS_JOBS.attributes,
)
ADVISE_JOB: Final = SpanName(
    "advise job",
    SpanKind.INTERNAL,
    ("process jobs.history",),
    "the panel asks all sages at once and appends `job.advised`",
    (JOB_ID, JOB_WORKLOAD),
)
ASK_SAGE: Final = SpanName(
    "ask sage",
    SpanKind.INTERNAL,
    ("advise job",),
    "one sage is asked, until it answers or its time is over",
    (SAGE, SAGE_STATUS),
)
DECIDE_JOB: Final = SpanName(
    "decide job",
    SpanKind.INTERNAL,
    ("accept job",),
    "the owner takes a decision and appends it",
    (JOB_ID, DECISION, ENGINE, REASON, RISK, ADVICE),
)
HOLD: Final = SpanName(
    "hold",
    SpanKind.INTERNAL,
    ("accept job",),
    "the job waited for a person's decision; recorded when the job has ended",
    (JOB_ID, REASON, DECISION, DECIDED_BY),
)
PAUSE: Final = SpanName(
    "pause",
    SpanKind.INTERNAL,
    ("accept job",),
    "the job waited for quota; recorded when the job has ended",
    (JOB_ID, REASON),
)
DISPATCH_CHUNK: Final = SpanName(
    "dispatch chunk",
    SpanKind.PRODUCER,
    ("accept job",),
    "the owner hands a chunk to an engine",
    (JOB_ID, CHUNK_ID, CHUNK_ITEMS, CHUNK_ATTEMPT, ENGINE),
)
QUEUE_WAIT: Final = SpanName(
    "queue wait",
    SpanKind.INTERNAL,
    ("dispatch chunk",),
    "from the dispatch of a chunk to its claim by a runner",
    (JOB_ID, CHUNK_ID, ENGINE),
)
PROCESS_CHUNK: Final = SpanName(
    "process chunk",
    SpanKind.CONSUMER,
    ("dispatch chunk",),
    "a runner runs a chunk, from its claim to the acknowledged results",
    (JOB_ID, CHUNK_ID, CHUNK_ITEMS, CHUNK_ATTEMPT, ENGINE),
)
PROCESS_ITEM: Final = SpanName(
    "process item",
    SpanKind.INTERNAL,
    ("process chunk",),
    "the workload runs one item",
    (JOB_ID, JOB_WORKLOAD, ITEM_INDEX, ITEM_STATUS, ERROR_TYPE),
)
START_CLI: Final = SpanName(
    "start cli",
    SpanKind.INTERNAL,
    ("process item", "process request"),
    "a Claude CLI starts, to its first word; its own spans (`claude_code.*`) lie beside this one",
    (CLI_ATTEMPT,),
)
END_JOB: Final = SpanName(
    "end job",
    SpanKind.INTERNAL,
    ("accept job",),
    "the owner publishes the job's end and appends `job.ended`",
    (JOB_ID, JOB_STATUS, ERROR_TYPE),
)
SEND_REQUESTS: Final = SpanName(
    "send claude.requests",
    SpanKind.PRODUCER,
    (),
    SEND_JOBS.meaning,
    tuple(REQUEST_ID if key == JOB_ID else key for key in SEND_JOBS.attributes),
)
PROCESS_REQUESTS: Final = SpanName(
    "process claude.requests",
    SpanKind.CONSUMER,
    ("send claude.requests",),
    "one record of the inbox is handled; without a context in its headers a root, its trace id from the request id",
    tuple(REQUEST_ID if key == JOB_ID else key for key in PROCESS_JOBS.attributes),
)
ACCEPT_REQUEST: Final = SpanName(
    "accept request",
    SpanKind.INTERNAL,
    ("process claude.requests",),
    "admission appends `claude.accepted`; all that happens to the request later is below this span",
    (REQUEST_ID, REQUEST_TENANT),
)
REQUEST_WAIT: Final = SpanName(
    "request wait",
    SpanKind.INTERNAL,
    ("accept request",),
    "from the dispatch of a request to its claim: it waited for a free slot",
    (REQUEST_ID, REQUEST_ATTEMPT),
)
PROCESS_REQUEST: Final = SpanName(
    "process request",
    SpanKind.CONSUMER,
    ("accept request",),
    "one run of the prompt, from its claim to the acknowledged outcome",
    (REQUEST_ID, REQUEST_ATTEMPT, REQUEST_OUTCOME, ERROR_TYPE, REASON),
)
END_REQUEST: Final = SpanName(
    "end request",
    SpanKind.INTERNAL,
    ("accept request",),
    "the owner publishes the request's end and appends `claude.ended`",
    (REQUEST_ID, REQUEST_STATUS),
)
PROCESS_ENDS: Final = SpanName(
    "process jobs.done",
    SpanKind.CONSUMER,
    ("accept job",),
    "the notifier looks for rules that want the job's end told; only where it has rules",
    PROCESS_JOBS.attributes,
)
PROCESS_HOLDS: Final = SpanName(
    "process jobs.holds",
    SpanKind.CONSUMER,
    ("accept job",),
    "the notifier looks for rules that want a hold, or its reminder, told; only where it has rules",
    PROCESS_JOBS.attributes,
)
PLAN_NOTIFICATION: Final = SpanName(
    "plan notification",
    SpanKind.INTERNAL,
    ("process jobs.done", "process jobs.holds"),
    "the notifier renders a message and appends `notification.planned`",
    (JOB_ID, NOTIFICATION_ID, NOTIFICATION_EVENT, NOTIFICATION_RULE, NOTIFICATION_CHANNEL),
)
SEND_NOTIFICATION: Final = SpanName(
    "send notification",
    SpanKind.CLIENT,
    ("plan notification",),
    "one attempt to send a message, from its claim to the acknowledged outcome",
    (JOB_ID, NOTIFICATION_ID, NOTIFICATION_CHANNEL, NOTIFICATION_ATTEMPT, NOTIFICATION_OUTCOME, REASON),
)

SPANS: tuple[SpanName, ...] = (
    SEND_JOBS,
    PROCESS_JOBS,
    SEND_DECISIONS,
    PROCESS_DECISIONS,
    ACCEPT_JOB,
    PROCESS_HISTORY,
    ADVISE_JOB,
    ASK_SAGE,
    DECIDE_JOB,
    HOLD,
    PAUSE,
    DISPATCH_CHUNK,
    QUEUE_WAIT,
    PROCESS_CHUNK,
    PROCESS_ITEM,
    START_CLI,
    END_JOB,
    SEND_REQUESTS,
    PROCESS_REQUESTS,
    ACCEPT_REQUEST,
    REQUEST_WAIT,
    PROCESS_REQUEST,
    END_REQUEST,
    PROCESS_ENDS,
    PROCESS_HOLDS,
    PLAN_NOTIFICATION,
    SEND_NOTIFICATION,
)
