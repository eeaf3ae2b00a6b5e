"""Reads ends and holds, and plans a notification for each rule and channel that wants them told."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID, uuid5

from opentelemetry import metrics, trace

from eldermesh.contract.partitions import partition_of
from eldermesh.contract.times import parse_time
from services.notifier.planner.occurrence import TOLD_TYPES, Occurrence, occurrence_of
from services.notifier.rules.match import wants
from services.notifier.rules.schema import Rule, Rules
from services.notifier.templates.message import render, severity_of
from services.notifier.templates.process import TemplateProcess
from shared.consumer.record import ConsumedRecord, inbox_of
from shared.errors import DeadLetterError, RecordTooLargeError
from shared.facts.notifications import NotificationPlanned
from shared.history.facts import fact_headers
from shared.history.keys import FOLD_VERSION
from shared.kafka.service_producer import Producer
from shared.kafka.topics import NOTIFICATIONS
from shared.settings import Settings
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import fact_trace
from shared.telemetry.spans import span

_planned_total = metrics.get_meter("eldermesh").create_counter(
    metric_names.NOTIFICATIONS_PLANNED.name, metric_names.NOTIFICATIONS_PLANNED.unit
)


def notification_id(job_id: str, event: str, rule: str, channel: str) -> str:
    """The same for every redelivery of an event: the `webhook-id`, and what stands in the `Message-ID`."""
    return str(uuid5(UUID(job_id), f"{event}\n{rule}\n{channel}"))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Planner:
    """The record handler of `jobs.done` and `jobs.holds`. What it appends twice is folded once.

    Args:
        settings: the settings in force.
        rules: who is told what.
        producer: for its facts; it stays the caller's.
        templates: renders those of the rules; it stays the caller's.
        now_ms: wall clock, milliseconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        rules: Rules,
        producer: Producer,
        templates: TemplateProcess,
        *,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._producer = producer
        self._templates = templates
        self._now_ms = now_ms
        self._max_age_ms = round(settings.notify_max_age_seconds * 1000)

    def passes_over(self, record: ConsumedRecord) -> bool:
        """Whether nobody is to be told: no rules, an event of another type, or one that is too old by its `ce_time`."""
        if not self._rules.rules or record.header("ce_type") not in TOLD_TYPES:
            return True
        try:
            at_ms = parse_time(record.header("ce_time") or "")
        except ValueError:
            at_ms = record.timestamp_ms
        return at_ms + self._max_age_ms <= self._now_ms()

    def decode(self, record: ConsumedRecord) -> Occurrence:
        """The event.

        Raises:
            DeadLetterError: it is none.
        """
        return occurrence_of(record)

    def root_trace_id(self, decoded: Occurrence) -> str | None:
        """That of the job."""
        return decoded.record.trace_id

    async def handle(self, record: ConsumedRecord, decoded: Occurrence) -> None:
        """Append a fact for each rule and channel that wants the event, acknowledged by all in-sync replicas.

        Raises:
            DeadLetterError: a fact is larger than the history takes.
            RetryableError: the broker did not acknowledge it.
        """
        trace.get_current_span().set_attribute(names.JOB_ID, decoded.job_id)
        for rule in self._rules.rules:
            if wants(rule, decoded):
                for channel in rule.channels:
                    await self._plan(record, decoded, rule, channel)

    async def _plan(self, record: ConsumedRecord, occurrence: Occurrence, rule: Rule, channel: str) -> None:
        subject = notification_id(occurrence.job_id, occurrence.key, rule.name, channel)
        attributes = {
            names.JOB_ID: occurrence.job_id,
            names.NOTIFICATION_ID: subject,
            names.NOTIFICATION_EVENT: occurrence.key,
            names.NOTIFICATION_RULE: rule.name,
            names.NOTIFICATION_CHANNEL: channel,
        }
        rendered = await render(
            rule,
            self._rules.channels[channel],
            occurrence,
            self._templates,
            trace_ui_url=self._settings.trace_ui_url,
        )
        with span(names.PLAN_NOTIFICATION, attributes=attributes) as planning:
            context = fact_trace(planning, occurrence.job_id)
            fact = NotificationPlanned(
                inbox=inbox_of(record),
                job_id=occurrence.job_id,
                event=occurrence.key,
                rule=rule.name,
                channel=channel,
                severity=severity_of(occurrence),
                title=rendered.title,
                body=rendered.body,
                html=rendered.html,
                payload=rendered.payload,
                expires_at=occurrence.at_ms + self._max_age_ms,
                max_attempts=self._settings.notify_attempts,
                fold_version=FOLD_VERSION,
                traceparent=context.traceparent,
                tracestate=context.tracestate,
            )
            try:
                await self._producer.send_and_wait(
                    self._settings.topic(NOTIFICATIONS),
                    fact.encode(),
                    key=subject.encode(),
                    partition=partition_of(subject, self._settings.partition_count),
                    headers=fact_headers(fact.fact_type, subject, context.traceparent, context.tracestate),
                )
            except RecordTooLargeError as error:
                raise DeadLetterError("too_large", str(error)) from error
        _planned_total.add(1, {names.NOTIFICATION_CHANNEL: channel})
