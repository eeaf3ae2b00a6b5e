"""The id of a request: given, or derived from it."""

from __future__ import annotations

from eldermesh.contract.claude_commands import ClaudeRequest
from eldermesh.contract.ids import request_id_from_cloud_event, request_id_from_key
from shared.consumer.record import ConsumedRecord
from shared.consumer.subject_id import SubjectIds

_TENANT: str = ClaudeRequest.model_fields["tenant"].default

REQUEST_IDS = SubjectIds("request_id", _TENANT, request_id_from_key, request_id_from_cloud_event)


def request_id_of(request: ClaudeRequest, record: ConsumedRecord) -> str:
    """The id of a valid request."""
    return request.request_id or REQUEST_IDS.derived(request.tenant, request.idempotency_key, record)
