"""JSON Schemas of what the verbs answer with `--json`, beside those of the public events."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue, TypeAdapter

from eldermesh.cli import answers, stack_answers
from eldermesh.contract.claude_output import ClaudeEnd
from eldermesh.contract.ends import JobEnd
from eldermesh.contract.results import ItemResult
from eldermesh.contract.schemas import CONTRACT_SCHEMA_NAMES, AlwaysThere, contract_schema, identified

_ANSWERS: dict[str, Any] = {
    "mesh-error": answers.ErrorAnswer,
    "mesh-up": stack_answers.UpAnswer,
    "mesh-down": stack_answers.DownAnswer,
    "mesh-ps": stack_answers.PsAnswer,
    "mesh-env": stack_answers.EnvAnswer,
    "mesh-log-line": stack_answers.LogLine,
    "mesh-submit": answers.SubmitAnswer,
    "mesh-submit-wait": JobEnd | answers.SubmitAnswer,
    "mesh-ask": answers.AskAnswer,
    "mesh-ask-wait": ClaudeEnd,
    "mesh-ask-line": answers.AskLine,
    "mesh-status": answers.JobStatus,
    "mesh-result": ItemResult,
    "mesh-watch-line": answers.WatchLine,
    "mesh-list": answers.ListAnswer,
    "mesh-cancel": answers.CancelAnswer,
    "mesh-approve": answers.DecisionAnswer,
    "mesh-reject": answers.DecisionAnswer,
    "mesh-trace": answers.TraceAnswer,
    "mesh-why": answers.WhyAnswer,
    "mesh-dlq": answers.DeadLetterList,
    "mesh-audit": answers.AuditAnswer,
    "mesh-index": answers.IndexAnswer,
    "mesh-note": answers.NoteAnswer,
    "mesh-notes": answers.NoteList,
    "mesh-notes-rm": answers.NoteRemoved,
    "mesh-topics-apply": answers.TopicsAnswer,
    "mesh-notify-test": answers.NotifyTestAnswer,
    "mesh-doctor": answers.DoctorAnswer,
    "mesh-config": dict[str, JsonValue],
    "mesh-version": answers.VersionAnswer,
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
