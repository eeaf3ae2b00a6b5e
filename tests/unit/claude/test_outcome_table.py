"""docs/reference/claude_exec.md: each class of outcome has a row, and each row a test that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

from eldermesh.contract.claude_output import RunOutcome
from services.claude_exec.options import ClaudeOptions

_ROOT = Path(__file__).resolve().parents[3]
_PAGE = (_ROOT / "docs" / "reference" / "claude_exec.md").read_text("utf-8")


def _rows(begin: str, end: str) -> list[list[str]]:
    table = _PAGE.partition(begin)[2].partition(end)[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_class_and_every_test_of_the_table_exists() -> None:
    """A test that was renamed takes its row along."""
    rows = _rows("<!-- table: outcomes -->", "<!-- end -->")
    assert {row[0] for row in rows} == {*get_args(RunOutcome), "(none)"}
    for row in rows:
        file, _, name = re.sub("`", "", row[-1]).partition("::")
        module = ast.parse((_ROOT / "tests" / "integration" / "claude" / file).read_text("utf-8"))
        assert name in {node.name for node in module.body if isinstance(node, ast.AsyncFunctionDef)}, row[-1]


def test_every_option_is_on_the_page() -> None:
    """And no other."""
    assert [row[0].strip("`") for row in _rows("## Options", "A prompt is taken")] == list(ClaudeOptions.model_fields)
