"""All names of spans and attributes, declared once. `docs/reference/telemetry.md` has the same tables; a test compares.

Where the OpenTelemetry messaging conventions have a name it is used; all others begin with `eldermesh.`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import SpanKind


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
    attributes: tuple[str, ...]


def _internal(name: str, parents: tuple[str, ...], meaning: str, attributes: tuple[str, ...]) -> SpanName:
    return SpanName(name, SpanKind.INTERNAL, parents, meaning, attributes)


ATTRIBUTES: Final[list[Attribute]] = []


def _attribute(key: str, meaning: str) -> str:
    ATTRIBUTES.append(Attribute(key, meaning))
    return key


# Attribute keys: the messaging conventions
MESSAGING_SYSTEM: Final = _attribute("messaging.system", "always `kafka`")
MESSAGING_DESTINATION_NAME: Final = _attribute("messaging.destination.name", "topic, with the environment's prefix")
MESSAGING_DESTINATION_PARTITION_ID: Final = _attribute("messaging.destination.partition.id", "partition, as text")
MESSAGING_OPERATION_NAME: Final = _attribute("messaging.operation.name", "`send` or `process`")
MESSAGING_OPERATION_TYPE: Final = _attribute("messaging.operation.type", "`send` or `process`")
MESSAGING_CONSUMER_GROUP_NAME: Final = _attribute("messaging.consumer.group.name", "consumer group")
MESSAGING_KAFKA_OFFSET: Final = _attribute("messaging.kafka.offset", "offset of the record")
MESSAGING_MESSAGE_BODY_SIZE: Final = _attribute("messaging.message.body.size", "bytes of the record's value")
ERROR_TYPE: Final = _attribute("error.type", "the word that the public contract has for the failure")

# Attribute keys: the mesh's own
JOB_ID: Final = _attribute("eldermesh.job.id", "job id")
JOB_TENANT: Final = _attribute("eldermesh.job.tenant", "tenant of the job")
JOB_WORKLOAD: Final = _attribute("eldermesh.job.workload", "workload of the job")
JOB_STATUS: Final = _attribute(
    "eldermesh.job.status", "how the job ended: `completed`, `failed`, `cancelled`, `rejected`"
)
JOB_ITEMS_TOTAL: Final = _attribute("eldermesh.job.items_total", "items of the job")
DECISION: Final = _attribute(
    "eldermesh.decision", "what was decided, as `route`, `refuse`, `hold`; of a hold how it ended, as `approved`"
)
DECIDED_BY: Final = _attribute("eldermesh.decision.by", "who approved or rejected")
RISK: Final = _attribute(
    "eldermesh.risk", "what incident, or the router's own rules, said: `low`, `medium`, `high`, `critical`"
)
ADVICE: Final = _attribute("eldermesh.advice", "all that was said of the job, as JSON, the first 4,096 characters")
ENGINE: Final = _attribute("eldermesh.engine", "`celery` or `ray`")
CHUNK_ID: Final = _attribute("eldermesh.chunk.id", "chunk id, `{job_id}/{stage}/{epoch}/{first}-{last}`")
CHUNK_ITEMS: Final = _attribute("eldermesh.chunk.items", "items of the chunk that this run has to do")
CHUNK_ATTEMPT: Final = _attribute("eldermesh.chunk.attempt", "1 + deaths of the chunk")
ITEM_INDEX: Final = _attribute("eldermesh.item.index", "index of the item in its job")
ITEM_STATUS: Final = _attribute("eldermesh.item.status", "`succeeded` or `failed`")
CLI_ATTEMPT: Final = _attribute("eldermesh.cli.attempt", "1 + CLIs that died before this one, of the same prompt")
REASON: Final = _attribute("eldermesh.reason", "one word or sentence that says why")
REQUEST_ID: Final = _attribute("eldermesh.request.id", "id of a prompt that was asked for on its own")
REQUEST_TENANT: Final = _attribute("eldermesh.request.tenant", "tenant of the request")
REQUEST_STATUS: Final = _attribute(
    "eldermesh.request.status", "how the request ended: `completed`, `failed`, `cancelled`"
)
REQUEST_ATTEMPT: Final = _attribute("eldermesh.request.attempt", "number of the request's run, as on `claude.output`")
REQUEST_OUTCOME: Final = _attribute("eldermesh.request.outcome", "class of a run's outcome, as `ok` or `timeout`")
TOKEN_KIND: Final = _attribute("eldermesh.token.kind", "`input`, `output`, `cache_read` or `cache_creation`")
HOUSEKEEPING_OUTCOME: Final = _attribute("eldermesh.housekeeping.outcome", "`done` or `failed`")
SAGE: Final = _attribute("eldermesh.sage", "name of a sage, as `task`")
SAGE_STATUS: Final = _attribute("eldermesh.sage.status", "what came of asking it: `ok`, `late`, `failed`, `warming`")
NOTIFICATION_ID: Final = _attribute(
    "eldermesh.notification.id", "id of a notification: the `webhook-id` of its message"
)
NOTIFICATION_EVENT: Final = _attribute(
    "eldermesh.notification.event", "what is told: `end`, `hold:1`, `hold-reminder:1`"
)
NOTIFICATION_RULE: Final = _attribute("eldermesh.notification.rule", "name of the rule that wants it told")
NOTIFICATION_CHANNEL: Final = _attribute("eldermesh.notification.channel", "name of the channel")
NOTIFICATION_ATTEMPT: Final = _attribute("eldermesh.notification.attempt", "number of the send")
NOTIFICATION_OUTCOME: Final = _attribute(
    "eldermesh.notification.outcome", "what came of a send: `sent`, `postponed`, `failed`, or why it was broken off"
)

KAFKA: Final = "kafka"
"""Value of `messaging.system`."""

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
    "one record of the inbox is handled",
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
ACCEPT_JOB: Final = _internal(
    "accept job",
    ("process jobs",),
    "admission appends `job.accepted`",
    (JOB_ID, JOB_TENANT, JOB_WORKLOAD, JOB_ITEMS_TOTAL),
)
PROCESS_HISTORY: Final = SpanName(
    "process jobs.history",
    SpanKind.CONSUMER,
    ("accept job",),
    "the sages' panel handles a `job.accepted`",
    PROCESS_JOBS.attributes,
)
ADVISE_JOB: Final = _internal(
    "advise job",
    ("process jobs.history",),
    "the panel asks all sages at once and appends `job.advised`",
    (JOB_ID, JOB_WORKLOAD),
)
ASK_SAGE: Final = _internal(
    "ask sage", ("advise job",), "one sage is asked, until it answers or its time is over", (SAGE, SAGE_STATUS)
)
DECIDE_JOB: Final = _internal(
    "decide job",
    ("accept job",),
    "the owner takes a decision and appends it",
    (JOB_ID, DECISION, ENGINE, REASON, RISK, ADVICE),
)
HOLD: Final = _internal(
    "hold",
    ("accept job",),
    "the job waited for a person's decision",
    (JOB_ID, REASON, DECISION, DECIDED_BY),
)
PAUSE: Final = _internal("pause", ("accept job",), "the job waited for quota", (JOB_ID, REASON))
DISPATCH_CHUNK: Final = SpanName(
    "dispatch chunk",
    SpanKind.PRODUCER,
    ("accept job",),
    "the owner hands a chunk to an engine",
    (JOB_ID, CHUNK_ID, CHUNK_ITEMS, CHUNK_ATTEMPT, ENGINE),
)
QUEUE_WAIT: Final = _internal(
    "queue wait",
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
PROCESS_ITEM: Final = _internal(
    "process item",
    ("process chunk",),
    "the workload runs one item. Of `python` jobs the first item of each chunk has one, and a sample, and what failed"
    " or took a second, each up to `MESH_ITEM_SPANS` of a job",
    (JOB_ID, JOB_WORKLOAD, ITEM_INDEX, ITEM_STATUS, ERROR_TYPE),
)
START_CLI: Final = _internal(
    "start cli",
    ("process item", "process request"),
    "a Claude CLI starts, to its first word",
    (CLI_ATTEMPT,),
)
END_JOB: Final = _internal(
    "end job",
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
    "one record of the inbox is handled",
    tuple(REQUEST_ID if key == JOB_ID else key for key in PROCESS_JOBS.attributes),
)
ACCEPT_REQUEST: Final = _internal(
    "accept request",
    ("process claude.requests",),
    "admission appends `claude.accepted`",
    (REQUEST_ID, REQUEST_TENANT),
)
REQUEST_WAIT: Final = _internal(
    "request wait",
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
END_REQUEST: Final = _internal(
    "end request",
    ("accept request",),
    "the owner publishes the request's end and appends `claude.ended`",
    (REQUEST_ID, REQUEST_STATUS),
)
PROCESS_ENDS: Final = SpanName(
    "process jobs.done",
    SpanKind.CONSUMER,
    ("accept job",),
    "a notifier that has rules handles the job's end",
    PROCESS_JOBS.attributes,
)
PROCESS_HOLDS: Final = SpanName(
    "process jobs.holds",
    SpanKind.CONSUMER,
    ("accept job",),
    "a notifier that has rules handles a hold, or its reminder",
    PROCESS_JOBS.attributes,
)
PLAN_NOTIFICATION: Final = _internal(
    "plan notification",
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

SPANS: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, SpanName))
