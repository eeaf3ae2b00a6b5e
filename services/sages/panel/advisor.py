"""From `job.accepted` to `job.advised`: asks the panel about each accepted job and appends its advice."""

from __future__ import annotations

from opentelemetry import metrics, trace

from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.partitions import partition_of
from services.sages.panel.panel import Panel
from services.sages.sage import Question
from shared.consumer.record import ConsumedRecord
from shared.facts.fact import FACT_TYPE_HEADER, UnreadableFactError
from shared.facts.jobs import JobAccepted, JobAdvised, decode_job_fact
from shared.history.clock import SystemClock
from shared.history.facts import fact_headers
from shared.kafka.service_producer import Producer
from shared.kafka.topics import JOBS_HISTORY
from shared.logs.setup import get_logger, job_logs
from shared.settings import Settings
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import traceparent_of, tracestate_of
from shared.telemetry.spans import span

_log = get_logger(__name__)
_meter = metrics.get_meter("eldermesh")
_advised = _meter.create_counter(
    metric_names.JOBS_ADVISED.name, metric_names.JOBS_ADVISED.unit, metric_names.JOBS_ADVISED.meaning
)
_expired = _meter.create_counter(
    metric_names.ADVICE_EXPIRED.name, metric_names.ADVICE_EXPIRED.unit, metric_names.ADVICE_EXPIRED.meaning
)


def passes_over(record: ConsumedRecord) -> bool:
    """Whether a record of the history is not a `job.accepted`, by its header."""
    return record.header(FACT_TYPE_HEADER) != JobAccepted.fact_type


class Advising:
    """The record handler of `jobs.history` in the panel's group.

    A fact that cannot be read is logged and skipped: the owner of its partition stops at it and reports it.

    Args:
        settings: the settings in force.
        panel: started.
        producer: for its facts; the caller closes it.
    """

    def __init__(self, settings: Settings, panel: Panel, producer: Producer) -> None:
        self._settings = settings
        self._panel = panel
        self._producer = producer

    def decode(self, record: ConsumedRecord) -> Question | None:
        """The question; None if the sages need not be asked."""
        try:
            fact = decode_job_fact(JobAccepted.fact_type, record.value or b"")
        except UnreadableFactError:
            _log.error("a job.accepted cannot be read; nobody is asked", record=record.coordinates)
            return None
        if not isinstance(fact, JobAccepted) or fact.terms.advise_within_ms <= 0:
            return None
        return question_of(fact, (record.key or b"").decode("utf-8", "replace"), record.timestamp_ms)

    def root_trace_id(self, decoded: Question) -> str | None:  # noqa: ARG002 - the interface is the consumer's
        """Facts carry the trace of their job."""
        return None

    async def handle(self, record: ConsumedRecord, decoded: Question) -> None:  # noqa: ARG002 - as above
        """Ask the sages and append their advice, acknowledged by all in-sync replicas.

        Raises:
            RetryableError: the broker did not acknowledge it.
        """
        trace.get_current_span().set_attribute(names.JOB_ID, decoded.job_id)
        if SystemClock().now_ms() - decoded.accepted_at > decoded.terms.advise_within_ms:
            _expired.add(1)
            return
        attributes = {names.JOB_ID: decoded.job_id, names.JOB_WORKLOAD: decoded.workload}
        with job_logs(decoded.job_id), span(names.ADVISE_JOB, attributes=attributes) as advising:
            fact = JobAdvised(entries=await self._panel.ask(decoded))
            await self._producer.send_and_wait(
                self._settings.topic(JOBS_HISTORY),
                fact.encode(),
                key=decoded.job_id.encode(),
                partition=partition_of(decoded.job_id, self._settings.partition_count),
                headers=fact_headers(fact.fact_type, decoded.job_id, traceparent_of(advising), tracestate_of(advising)),
            )
        _advised.add(1, {names.JOB_WORKLOAD: decoded.workload})


def question_of(fact: JobAccepted, job_id: str, accepted_at: int) -> Question:
    """The question about an accepted job. It has no items if the fact only refers to them."""
    try:
        submit = parse_ijson(fact.original.encode())
    except UndecodableJsonError:
        submit = None
    content = submit if isinstance(submit, dict) else {}
    items, options = content.get("items"), content.get("options")
    return Question(
        job_id=job_id,
        tenant=fact.terms.tenant,
        workload=fact.terms.workload,
        items=tuple(items) if isinstance(items, list) else (),
        options=options if isinstance(options, dict) else {},
        terms=fact.terms,
        items_total=fact.items_total,
        accepted_at=accepted_at,
        content_hash=fact.content_hash,
    )
