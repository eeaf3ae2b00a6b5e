"""What a record says it is: the name of its command, and the id of its job."""

from __future__ import annotations

from dataclasses import replace

from pydantic import JsonValue

from eldermesh.contract.cloudevents import CANCEL, DECIDE, SUBMIT
from eldermesh.contract.commands import JobSubmit
from eldermesh.contract.ids import job_id_from_cloud_event, job_id_from_key
from shared.consumer.command_json import read_object
from shared.consumer.record import ConsumedRecord
from shared.consumer.subject_id import SubjectIds
from shared.errors import DeadLetterError
from shared.kafka.topics import JOBS_DECISIONS

JOB_IDS = SubjectIds("job_id", JobSubmit.model_fields["tenant"].default, job_id_from_key, job_id_from_cloud_event)

_COMMANDS = frozenset({SUBMIT, CANCEL, DECIDE})


def read_command(record: ConsumedRecord, tenant_of_inbox: str | None = None) -> tuple[str, dict[str, JsonValue]]:
    """The command's type and its fields, which are not checked yet.

    Args:
        record: as it came.
        tenant_of_inbox: whose job a record without `tenant` is; None: that of the default tenant.

    Raises:
        DeadLetterError: too large, not an I-JSON object, or its headers name something else.
    """
    ids = JOB_IDS if tenant_of_inbox is None else replace(JOB_IDS, default_tenant=tenant_of_inbox)
    value = read_object(record, readable_id=ids.readable, derived_id=ids.of_invalid)
    return _command_type(record, value), value


def _command_type(record: ConsumedRecord, value: dict[str, JsonValue]) -> str:
    is_for_decisions = record.inbox == JOBS_DECISIONS
    command = record.header("ce_type")
    if command is None:
        return DECIDE if is_for_decisions else SUBMIT
    if command not in _COMMANDS:
        raise DeadLetterError(
            "invalid",
            f"header ce_type: unknown type; known are {', '.join(sorted(_COMMANDS))}",
            job_id=JOB_IDS.readable(value),
        )
    if is_for_decisions != (command == DECIDE):
        raise DeadLetterError(
            "invalid", f"header ce_type: {command} does not belong on {record.inbox}", job_id=JOB_IDS.readable(value)
        )
    return command
