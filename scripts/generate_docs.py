"""Write docs/schemas, docs/asyncapi.json and the tables of docs/reference/events.md from their registries.

With --check nothing is written: exit status 1 and the names of the files that differ.

Usage: generate_docs.py [--check] [DIRECTORY] (default: docs)
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run by path: the project has to be found first

from document_tables import DOCS, Tables, table, with_tables
from generated_files import write_or_check

from eldermesh.contract import topics as public_topics
from eldermesh.contract.asyncapi import asyncapi_document
from eldermesh.contract.schemas import PUBLIC_EVENTS
from eldermesh_cli.answers.schemas import named_schema, schema_names
from shared.facts.claude import CLAUDE_FACTS
from shared.facts.fact import Fact
from shared.facts.jobs import JOB_FACTS
from shared.facts.notifications import NOTIFICATION_FACTS
from shared.kafka.topics import TOPICS, TopicSpec, tenant_inbox

_DAY_MS = 24 * 3600 * 1000
_PUBLIC_TOPICS = {value for name, value in vars(public_topics).items() if name.isupper()} | {"jobs.<tenant>"}


def _first_line(described: type) -> str:
    return (described.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")


def public_events() -> str:
    """The table of public events."""
    rows = [
        (
            f"`{event.topic}`",
            "<br>".join(f"`{event_type}`" for event_type in event.event_types),
            event.sender,
            event.summary.replace("|", "\\|"),
            f"[{event.name}](../schemas/{event.name}.json)",
        )
        for event in PUBLIC_EVENTS
    ]
    return table(("topic", "`ce_type`", "sent by", "what it says", "schema"), rows)


def _facts(registry: Mapping[str, type[Fact]]) -> str:
    rows = [
        (f"`{name}`", _first_line(fact), ", ".join(f"`{each}`" for each in fact.model_fields))
        for name, fact in registry.items()
    ]
    return table(("fact", "what it says", "fields"), rows)


def topics() -> str:
    """The table of topics."""
    return table(
        ("topic", "for", "policy", "retention", "largest record"),
        [_topic(spec) for spec in (*TOPICS, tenant_inbox("<tenant>"))],
    )


def _topic(spec: TopicSpec) -> tuple[str, ...]:
    policy = f"{spec.cleanup_policy}{', LogAppendTime' if spec.log_append_time else ''}"
    retention = "for ever" if spec.retention_ms is None else f"{spec.retention_ms // _DAY_MS} days"
    audience = "everybody" if spec.name in _PUBLIC_TOPICS else "the mesh alone"
    return f"`{spec.name}`", audience, policy, retention, f"{spec.max_message_bytes // 1024} KiB"


TABLES: Tables = {
    "public events": public_events,
    "facts": lambda: _facts(JOB_FACTS),
    "claude facts": lambda: _facts(CLAUDE_FACTS),
    "notification facts": lambda: _facts(NOTIFICATION_FACTS),
    "topics": topics,
}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def generated(directory: Path) -> dict[Path, str]:
    """The files that have to be in `directory`, with their text."""
    files = {directory / "schemas" / f"{name}.json": _json(named_schema(name)) for name in schema_names()}
    files[directory / "asyncapi.json"] = _json(asyncapi_document())
    events = directory / "reference" / "events.md"
    files[events] = with_tables(events.read_text("utf-8"), TABLES)
    return files


def main(arguments: list[str]) -> int:
    """Write the files; with --check compare them, exit status 1 when one differs, is missing, or is one too many."""
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    directory = paths[0] if paths else DOCS
    files = generated(directory)
    stale = set((directory / "schemas").glob("*.json")) - set(files)
    return write_or_check(files, stale, check="--check" in arguments, script="scripts/generate_docs.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
