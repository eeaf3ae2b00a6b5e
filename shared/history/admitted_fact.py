"""The fact of a command that was found valid, on its way from an inbox to a history."""

from __future__ import annotations

from eldermesh.contract.partitions import partition_of
from shared.errors import DeadLetterError, RecordTooLargeError
from shared.facts.fact import Fact
from shared.history.facts import fact_headers
from shared.kafka.service_producer import Producer
from shared.settings import Settings
from shared.telemetry.propagation import FactTrace


async def append_admitted(
    producer: Producer, settings: Settings, history: str, subject: str, fact: Fact, trace: FactTrace
) -> None:
    """Append the fact to its subject's partition of a history (named without prefix); return once it is acknowledged.

    Raises:
        DeadLetterError: the fact is larger than the history takes.
        RetryableError: the broker did not acknowledge it.
    """
    try:
        await producer.send_and_wait(
            settings.topic(history),
            fact.encode(),
            key=subject.encode(),
            partition=partition_of(subject, settings.partition_count),
            headers=fact_headers(fact.fact_type, subject, trace.traceparent, trace.tracestate),
        )
    except RecordTooLargeError as error:
        raise DeadLetterError("too_large", str(error), job_id=subject) from error
