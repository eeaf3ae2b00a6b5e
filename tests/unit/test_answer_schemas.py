"""The schemas of the verbs' `--json` answers against the table of the contract, written out here."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from eldermesh_cli.answers.schemas import named_schema, schema_names

_PROCESSES = "name pid state restarts_total rss_bytes"
_STATUS = (
    "job_id state waiting_for waiting_until engine items_total items_succeeded items_failed items_running"
    " accepted_at ended_at cost_usd advice trace_id"
)

CONTRACT: dict[str, tuple[str, dict[str, str]]] = {
    "mesh-error": ("error", {"error": "error_type message hint"}),
    "mesh-up": ("ready ready_seconds processes", {"processes": _PROCESSES}),
    "mesh-down": ("stopped_processes killed_processes stop_seconds", {}),
    "mesh-ps": ("processes", {"processes": _PROCESSES}),
    "mesh-submit": ("job_id state trace_id trace_url", {}),
    "mesh-status": (_STATUS, {}),
    "mesh-result": (
        "item_index status output output_url error_type error_message attempt duration_seconds cost_usd",
        {},
    ),
    "mesh-list": ("jobs next_cursor", {"jobs": "job_id state"}),
    "mesh-cancel": ("job_id state", {}),
    "mesh-approve": ("job_id state", {}),
    "mesh-reject": ("job_id state", {}),
    "mesh-trace": (
        "trace_id spans",
        {"spans": "span_id parent_span_id name service_name start_at duration_seconds status"},
    ),
    "mesh-why": ("job_id total_seconds segments advice", {"segments": "name seconds"}),
    "mesh-dlq": ("records next_cursor", {}),
    "mesh-audit": (
        "accepted ended missing differing_ends identical_duplicates items_expected items_counted breaches",
        {},
    ),
    "mesh-index": ("files_total files_changed passages_total duration_seconds", {}),
    "mesh-notify-test": ("channels", {"channels": "name ok error_message"}),
    "mesh-topics-apply": ("created unchanged refused", {}),
    "mesh-doctor": ("ok checks", {"checks": "name status detail hint"}),
    "mesh-env": ("MESH_KAFKA_BOOTSTRAP MESH_REDIS_URL", {}),
    "mesh-version": ("version contract_version fold_version", {}),
}
"""Fields of each answer, and of what is in its lists or objects."""

STATES = {"accepted", "held", "paused", "running", "completed", "failed", "cancelled", "rejected", "dead"}


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    node = node.get("items", node)
    reference = node.get("$ref")
    found: dict[str, Any] = schema["$defs"][reference.rpartition("/")[2]] if reference else node
    return found


@pytest.mark.parametrize("name", CONTRACT)
def test_fields_of_the_contract(name: str) -> None:
    """Every field of the table is there, required, and its objects have theirs; answers say what else they have."""
    schema = named_schema(name)
    fields, inner = CONTRACT[name]

    assert set(fields.split()) <= set(schema["required"])
    for field, names in inner.items():
        assert set(names.split()) <= set(_resolved(schema, schema["properties"][field])["required"])
    if name not in {"mesh-result", "mesh-env"}:
        assert schema["additionalProperties"] is False


def test_every_answer_is_in_the_table() -> None:
    """A new answer has to be written down here, too: its shape is the contract's or an addition to it."""
    answers = {name for name in schema_names() if name.startswith("mesh-")}
    of_requests = {"mesh-ask", "mesh-ask-wait", "mesh-ask-line"}
    of_notes = {"mesh-note", "mesh-notes", "mesh-notes-rm"}
    others = {"mesh-submit-wait", "mesh-watch-line", "mesh-log-line", "mesh-config"}
    assert answers - set(CONTRACT) == of_requests | of_notes | others


@pytest.mark.parametrize("name", ["mesh-submit", "mesh-status", "mesh-cancel", "mesh-approve", "mesh-reject"])
def test_states(name: str) -> None:
    """The words that a state can be."""
    assert set(named_schema(name)["properties"]["state"]["enum"]) == STATES


def test_lines_of_watch() -> None:
    """`kind` tells what the record is, and `record` is that."""
    schema = named_schema("mesh-watch-line")
    kinds = {variant["properties"]["kind"]["const"] for variant in _variants(schema)}
    assert kinds == {"state", "progress", "end"}
    assert not jsonschema.Draft202012Validator(schema).is_valid({"kind": "end", "record": {}})


def test_what_submit_waited_for() -> None:
    """The end of `jobs.done`, or the submit's answer with the state `dead`."""
    titles = {variant["title"] for variant in _variants(named_schema("mesh-submit-wait"))}
    assert titles == {"JobEnd", "SubmitAnswer"}


def _variants(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [_resolved(schema, variant) for variant in schema["anyOf"]]
