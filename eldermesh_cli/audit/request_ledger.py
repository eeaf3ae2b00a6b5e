"""The ledger of prompts on their own: accepted requests = ended requests, one end each."""

from __future__ import annotations

import time
from collections import defaultdict

from aiokafka import TopicPartition

from eldermesh.client.kafka import PublicTopics, end_positions
from eldermesh.contract.cloudevents import header_text
from eldermesh.contract.topics import CLAUDE_OUTPUT
from eldermesh_cli.answers.jobs import RequestLedger
from eldermesh_cli.program.topic_scan import log_starts, read_until
from shared.facts.claude import ClaudeAccepted
from shared.kafka.topics import CLAUDE_HISTORY, TOPICS
from shared.settings import Settings

MAX_LISTED = 100
"""Most missing requests that are named."""

_SLACK_MS = 3600 * 1000
_OUTPUT_RETENTION_MS = next(spec.retention_ms or 0 for spec in TOPICS if spec.name == CLAUDE_OUTPUT)


async def audit_requests(settings: Settings, topics: PublicTopics) -> RequestLedger:
    """Which requests were accepted and have no end on `claude.output`, and which have two that differ.

    Requests whose output retention may have taken are left out. The ends of the output are asked for before those of
    the history, so that only what is under way lacks its end.

    Raises:
        MeshUnavailableError: the broker does not answer.
    """
    kafka = settings.kafka
    output = topics.all_partitions(CLAUDE_OUTPUT)
    history = [TopicPartition(settings.topic(CLAUDE_HISTORY), each.partition) for each in output]
    starts = await log_starts(kafka, output)
    ends: dict[TopicPartition, int] = {}
    for partitions in (output, history):
        ends |= await end_positions(kafka, partitions)
    is_whole = not any(starts.values())
    horizon = 0 if is_whole else time.time_ns() // 1_000_000 - _OUTPUT_RETENTION_MS + _SLACK_MS
    accepted: dict[str, int] = {}
    ended: dict[str, set[bytes]] = defaultdict(set)
    async for record in read_until(kafka, ends):
        request_id = (record.key or b"").decode("utf-8", "replace")
        if record.topic == topics.name(CLAUDE_OUTPUT):
            if header_text(record.headers, "ce_id") == f"{request_id}:end":
                ended[request_id].add(record.value or b"")
        elif header_text(record.headers, "ce_type") == ClaudeAccepted.fact_type:
            accepted.setdefault(request_id, record.timestamp)
    recent = {request_id for request_id, at in accepted.items() if at > horizon}
    missing = sorted(recent - ended.keys())
    return RequestLedger(
        accepted=len(recent),
        ended=len(recent & ended.keys()),
        missing=len(missing),
        differing_ends=sum(len(values) > 1 for values in ended.values()),
        missing_requests=missing[:MAX_LISTED],
    )
