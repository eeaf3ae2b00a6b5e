"""The facts of one job, read from its partition of the history."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiokafka import TopicPartition

from eldermesh.contract.cloudevents import header_text
from eldermesh_cli.program.connection import OpenMesh
from eldermesh_cli.program.topic_scan import read_stretches
from shared.facts.jobs import JobEnded
from shared.history.facts import FactRecord


async def read_facts(
    opened: OpenMesh, job_id: str, partition: int, first_offset: int
) -> AsyncGenerator[FactRecord, None]:
    """The job's facts in log order, up to the mark of its end or the end of the log.

    A caller that stops early has to close the generator (`contextlib.aclosing`), which closes the connection.

    Raises:
        MeshUnavailableError: the broker does not answer.
    """
    place = TopicPartition(opened.history_topic, partition)
    key = job_id.encode()
    async with aclosing(read_stretches(opened.kafka, [place], {place: first_offset})) as records:
        async for record in records:
            if record.key != key:
                continue
            fact_type = header_text(record.headers, "ce_type") or ""
            yield FactRecord(record.offset, record.timestamp, job_id, fact_type, record.value or b"")
            if fact_type == JobEnded.fact_type:
                break
