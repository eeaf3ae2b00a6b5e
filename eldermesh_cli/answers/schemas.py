"""JSON Schemas of what the verbs answer with `--json`, beside those of the public events."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue, TypeAdapter

from eldermesh.contract.claude_output import ClaudeEnd
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.results import ItemResult
from eldermesh.contract.schemas import CONTRACT_SCHEMA_NAMES, AlwaysThere, contract_schema, identified
from eldermesh_cli.answers import jobs, stack

_ANSWERS: dict[str, Any] = {
    "mesh-error": jobs.ErrorAnswer,
    "mesh-up": stack.UpAnswer,
    "mesh-down": stack.DownAnswer,
    "mesh-ps": stack.PsAnswer,
    "mesh-env": stack.EnvAnswer,
    "mesh-log-line": stack.LogLine,
    "mesh-submit": jobs.SubmitAnswer,
    "mesh-submit-wait": JobEnd | jobs.SubmitAnswer,
    "mesh-ask": jobs.AskAnswer,
    "mesh-ask-wait": ClaudeEnd,
    "mesh-ask-line": jobs.AskLine,
    "mesh-status": jobs.JobStatus,
    "mesh-result": ItemResult,
    "mesh-watch-line": jobs.WatchLine,
    "mesh-list": jobs.ListAnswer,
    "mesh-cancel": jobs.CancelAnswer,
    "mesh-approve": jobs.DecisionAnswer,
    "mesh-reject": jobs.DecisionAnswer,
    "mesh-trace": jobs.TraceAnswer,
    "mesh-why": jobs.WhyAnswer,
    "mesh-dlq": jobs.DeadLetterList,
    "mesh-audit": jobs.AuditAnswer,
    "mesh-index": jobs.IndexAnswer,
    "mesh-note": jobs.NoteAnswer,
    "mesh-notes": jobs.NoteList,
    "mesh-notes-rm": jobs.NoteRemoved,
    "mesh-topics-apply": jobs.TopicsAnswer,
    "mesh-notify-test": jobs.NotifyTestAnswer,
    "mesh-doctor": jobs.DoctorAnswer,
    "mesh-config": dict[str, JsonValue],
    "mesh-version": jobs.VersionAnswer,
}


def schema_names() -> list[str]:
    """All names that `named_schema` knows, those of the contract first."""
    return [*CONTRACT_SCHEMA_NAMES, *_ANSWERS]


def named_schema(name: str) -> dict[str, Any]:
    """A JSON Schema; in answers every field is always there.

    Raises:
        KeyError: there is none of this name.
    """
    if name in CONTRACT_SCHEMA_NAMES:
        return contract_schema(name)
    return identified(name, TypeAdapter(_ANSWERS[name]).json_schema(mode="serialization", schema_generator=AlwaysThere))
