"""Reads ends and holds, and plans a notification for each matching rule and each of its channels."""

from __future__ import annotations

from fnmatch import fnmatchcase
from uuid import UUID, uuid5

from opentelemetry import metrics, trace

from eldermesh.contract.ends import JobEnd
from eldermesh.contract.partitions import partition_of
from eldermesh.contract.times import parse_time
from services.notifier.planner.occurrence import TOLD_TYPES, Occurrence, occurrence_of
from services.notifier.rules.schema import Match, Rule, Rules
from services.notifier.templates.message import render, severity_of
from services.notifier.templates.process import TemplateProcess
from shared.consumer.record import ConsumedRecord, inbox_of
from shared.errors import DeadLetterError, RecordTooLargeError
from shared.facts.notifications import NotificationPlanned
from shared.history.clock import SystemClock
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
    """The same for every redelivery of an event; it is the `webhook-id`, and part of the `Message-ID`."""
    return str(uuid5(UUID(job_id), f"{event}\n{rule}\n{channel}"))


def wants(rule: Rule, occurrence: Occurrence) -> bool:
    """Whether the event is of one of the rule's kinds and meets all its conditions. Pure."""
    return occurrence.kind in rule.on and _of_job(rule.match, occurrence) and _of_end(rule.match, occurrence)


def _of_job(match: Match, occurrence: Occurrence) -> bool:
    record = occurrence.record
    return (
        _any(match.workload, record.workload)
        and _any(match.tenant, record.tenant)
        and all(name in record.labels and fnmatchcase(record.labels[name], glob) for name, glob in match.labels.items())
    )


def _of_end(match: Match, occurrence: Occurrence) -> bool:
    record = occurrence.record
    if not isinstance(record, JobEnd):
        return True
    if match.status is not None and record.status not in match.status:
        return False
    if match.min_duration_seconds is not None and (occurrence.duration_seconds or 0) < match.min_duration_seconds:
        return False
    return match.min_cost_usd is None or (record.cost_usd or 0) >= match.min_cost_usd


def _any(globs: tuple[str, ...] | None, text: str) -> bool:
    return globs is None or any(fnmatchcase(text, glob) for glob in globs)


class Planner:
    """The record handler of `jobs.done` and `jobs.holds`. The fold ignores facts that it appends twice.

    Args:
        settings: the settings in force.
        rules: which events go to which channels.
        producer: for its facts; the caller closes it.
        templates: renders the rules' templates; the caller closes it.
    """

    def __init__(self, settings: Settings, rules: Rules, producer: Producer, templates: TemplateProcess) -> None:
        self._settings = settings
        self._rules = rules
        self._producer = producer
        self._templates = templates
        self._max_age_ms = round(settings.notify_max_age_seconds * 1000)

    def passes_over(self, record: ConsumedRecord) -> bool:
        """Whether to skip a record: no rules, an event of another type, or one whose `ce_time` is too old."""
        if not self._rules.rules or record.header("ce_type") not in TOLD_TYPES:
            return True
        try:
            at_ms = parse_time(record.header("ce_time") or "")
        except ValueError:
            at_ms = record.timestamp_ms
        return at_ms + self._max_age_ms <= SystemClock().now_ms()

    def decode(self, record: ConsumedRecord) -> Occurrence:
        """Read the event.

        Raises:
            DeadLetterError: the record is not such an event.
        """
        return occurrence_of(record)

    def root_trace_id(self, decoded: Occurrence) -> str | None:
        """The trace id of the job."""
        return decoded.record.trace_id

    async def handle(self, record: ConsumedRecord, decoded: Occurrence) -> None:
        """Append a fact for each matching rule and channel, acknowledged by all in-sync replicas.

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
            rule, self._rules.channels[channel], occurrence, self._templates, trace_ui_url=self._settings.trace_ui_url
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
