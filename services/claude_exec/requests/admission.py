"""Admission: turns the commands of `claude.requests` into facts of `claude.history`, at least once, keyed by id.

Whether a request is the first with its id, a repeat or a conflict is decided by the fold: only the history has order.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry import metrics, trace
from pydantic import JsonValue, ValidationError

from eldermesh.contract.claude_commands import ClaudeCancel, ClaudeRequest
from eldermesh.contract.cloudevents import CLAUDE_CANCEL, CLAUDE_REQUEST
from eldermesh.contract.ids import request_id_from_cloud_event, request_id_from_key, trace_id_of
from services.claude_exec.options import judged_options
from shared.consumer.command_json import read_object
from shared.consumer.invalid_reason import reason_of
from shared.consumer.record import ConsumedRecord, headers_of, inbox_of, key_of, submitted_at
from shared.consumer.subject_id import SubjectIds
from shared.errors import DeadLetterError
from shared.facts.claude import ClaudeAccepted, ClaudeCancelRequested, ClaudeTerms
from shared.history.admitted_fact import append_admitted
from shared.history.clock import SystemClock
from shared.history.keys import FOLD_VERSION
from shared.kafka.service_producer import Producer
from shared.kafka.topics import CLAUDE_HISTORY
from shared.settings import Settings
from shared.telemetry import metric_names, names
from shared.telemetry.propagation import FactTrace, fact_trace
from shared.telemetry.spans import span

_TENANT: str = ClaudeRequest.model_fields["tenant"].default
_IDS = SubjectIds("request_id", _TENANT, request_id_from_key, request_id_from_cloud_event)

_accepted_total = metrics.get_meter("eldermesh").create_counter(
    metric_names.REQUESTS_ACCEPTED.name, metric_names.REQUESTS_ACCEPTED.unit, metric_names.REQUESTS_ACCEPTED.meaning
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A valid command and the id of its request. `repr` never shows the command."""

    request_id: str
    command: ClaudeRequest | ClaudeCancel
    content_hash: str = ""
    """Set for a request, empty for a cancel."""

    @property
    def job_id(self) -> str:
        """The request id, under the name that dead letters use."""
        return self.request_id

    def __repr__(self) -> str:
        return f"Admitted({type(self.command).__name__} of {self.request_id})"


class RequestAdmission:
    """The record handler of `claude.requests`.

    Args:
        settings: the settings in force.
        producer: for its facts; the caller closes it.
    """

    def __init__(self, settings: Settings, producer: Producer) -> None:
        self._settings = settings
        self._producer = producer

    def decode(self, record: ConsumedRecord) -> Admitted:
        """Read and validate a record's command.

        Raises:
            DeadLetterError: it is not valid. The error has the request's id if that can be read or derived.
        """
        value = read_object(record, readable_id=_IDS.readable, derived_id=_IDS.of_invalid)
        command = record.header("ce_type") or CLAUDE_REQUEST
        if command == CLAUDE_CANCEL:
            return _cancel(value)
        if command != CLAUDE_REQUEST:
            raise DeadLetterError(
                "invalid",
                f"header ce_type: unknown type; known are {CLAUDE_CANCEL}, {CLAUDE_REQUEST}",
                job_id=_IDS.readable(value),
            )
        return self._request(value, record)

    def root_trace_id(self, decoded: Admitted) -> str | None:
        """The trace id of a request that came without one: derived from its request id."""
        return trace_id_of(decoded.request_id)

    async def handle(self, record: ConsumedRecord, decoded: Admitted) -> None:
        """Append the fact, acknowledged by all in-sync replicas.

        Raises:
            DeadLetterError: the fact is larger than the history takes.
            RetryableError: the broker did not acknowledge it.
        """
        trace.get_current_span().set_attribute(names.REQUEST_ID, decoded.request_id)
        if isinstance(decoded.command, ClaudeRequest):
            await self._accept(record, decoded, decoded.command)
            return
        context = fact_trace(trace.get_current_span(), decoded.request_id)
        fact = ClaudeCancelRequested(
            inbox=inbox_of(record), reason=decoded.command.reason, traceparent=context.traceparent
        )
        await self._append(decoded.request_id, fact, context)

    def _request(self, value: dict[str, JsonValue], record: ConsumedRecord) -> Admitted:
        try:
            request = ClaudeRequest.model_validate(value)
        except ValidationError as error:
            raise DeadLetterError("invalid", reason_of(error), job_id=_IDS.of_invalid(value, record)) from error
        request_id = request.request_id or _IDS.derived(request.tenant, request.idempotency_key, record)
        try:
            judged_options(request.options, self._settings)
        except DeadLetterError as error:
            raise DeadLetterError(error.error_type, error.reason, job_id=request_id) from error
        except BaseException as error:
            reason = f"the options of claude could not be judged: {type(error).__name__}"
            raise DeadLetterError("internal", reason, job_id=request_id) from error
        longest = self._settings.claude_timeout_seconds
        if request.timeout_seconds is not None and request.timeout_seconds > longest:
            reason = f"timeout_seconds: at most {longest:g} (MESH_CLAUDE_TIMEOUT_SECONDS)"
            raise DeadLetterError("invalid", reason, job_id=request_id)
        return Admitted(request_id, request, request.content_hash())

    async def _accept(self, record: ConsumedRecord, decoded: Admitted, request: ClaudeRequest) -> None:
        request_id = decoded.request_id
        attributes = {names.REQUEST_ID: request_id, names.REQUEST_TENANT: request.tenant}
        with span(names.ACCEPT_REQUEST, attributes=attributes) as accepting:
            context = fact_trace(accepting, request_id)
            fact = ClaudeAccepted(
                inbox=inbox_of(record),
                inbox_key_base64=key_of(record),
                inbox_headers_base64=headers_of(record),
                original=(record.value or b"").decode(),
                content_hash=decoded.content_hash,
                fold_version=FOLD_VERSION,
                terms=self._terms(request),
                submitted_at=submitted_at(record, SystemClock().now_ms()),
                trace_id=context.trace_id,
                traceparent=context.traceparent,
                tracestate=context.tracestate,
            )
            await self._append(request_id, fact, context)
        _accepted_total.add(1, {names.REQUEST_TENANT: request.tenant})

    def _terms(self, request: ClaudeRequest) -> ClaudeTerms:
        max_age = self._settings.max_job_age_seconds
        timeout = request.timeout_seconds
        return ClaudeTerms(
            tenant=request.tenant,
            submitted_by=request.submitted_by,
            labels=request.labels,
            run_timeout_ms=None if timeout is None else _milliseconds(timeout),
            expires_after_ms=_milliseconds(min(request.expires_after_seconds or max_age, max_age)),
            stream=request.stream,
        )

    async def _append(self, request_id: str, fact: ClaudeAccepted | ClaudeCancelRequested, context: FactTrace) -> None:
        await append_admitted(self._producer, self._settings, CLAUDE_HISTORY, request_id, fact, context)


def _cancel(value: dict[str, JsonValue]) -> Admitted:
    try:
        cancel = ClaudeCancel.model_validate(value)
    except ValidationError as error:
        raise DeadLetterError("invalid", reason_of(error), job_id=_IDS.readable(value)) from error
    return Admitted(cancel.request_id, cancel)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
