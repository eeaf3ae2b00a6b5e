"""docs/schemas, docs/asyncapi.json and docs/reference/events.md say what the registries say, and are valid."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from eldermesh.contract.asyncapi import asyncapi_document
from eldermesh_cli.answers.schemas import named_schema, schema_names
from shared.facts.jobs import JOB_FACTS

ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = ROOT / "scripts" / "generate_docs.py"


def _generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(_SCRIPT), *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_documents_are_up_to_date() -> None:
    """Whoever changes an event and not its documents is told so, and by which command to write them."""
    checked = _generate("--check")
    assert checked.returncode == 0, checked.stderr


def test_a_difference_is_found(tmp_path: Path) -> None:
    """A changed, a missing and a superfluous file are named; writing makes all of them right."""
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    (docs / "asyncapi.json").write_text("{}", "utf-8")
    (docs / "schemas" / "job-end.json").unlink()
    (docs / "schemas" / "left-over.json").write_text("{}", "utf-8")
    events = docs / "reference" / "events.md"
    events.write_text(events.read_text("utf-8").replace("| `job.held` |", "| `job.halted` |"), "utf-8")

    found = _generate("--check", str(docs))

    assert found.returncode == 1
    for name in ("asyncapi.json", "job-end.json", "left-over.json", "events.md"):
        assert name in found.stderr
    assert _generate(str(docs)).returncode == 0
    assert _generate("--check", str(docs)).returncode == 0


@pytest.mark.parametrize("name", schema_names())
def test_is_a_json_schema(name: str) -> None:
    """Each schema is one by the meta-schema of its dialect."""
    jsonschema.Draft202012Validator.check_schema(named_schema(name))


def test_asyncapi_is_asyncapi() -> None:
    """The document fits another project's types of AsyncAPI 3.0, and all its references lead somewhere."""
    document = asyncapi_document()

    ApplicationSchema.model_validate(document)
    references = set(_references(document))
    assert len(references) > 10
    for reference in references:
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_facts_are_private() -> None:
    """No fact is in the AsyncAPI document, all of them are in docs/reference/events.md."""
    public, page = str(asyncapi_document()), (ROOT / "docs" / "reference" / "events.md").read_text("utf-8")
    for fact in JOB_FACTS:
        assert f"'{fact}'" not in public
        assert f"`{fact}`" in page


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [reference for value in node.values() for reference in _references(value)]
    if isinstance(node, list):
        return [reference for value in node for reference in _references(value)]
    return []
