"""The page of the incident rules: every rule stands there, and every row of its tables is true."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from shared.incident import RULES_VERSION, judge
from shared.incident.destructive_rules import RULES as DESTRUCTIVE
from shared.incident.injection_rules import RULES as INJECTION
from shared.incident.secret_rules import rule_names
from tests.incident_prompts import with_made_values

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "incident.md").read_text("utf-8")
ROW = re.compile(
    r"^\| `((?:secret|destructive|injection|scope)\.[a-z-]+)` \| (\w+) \| `(.+?)` \| `(.+?)` \|$", re.MULTILINE
)
ROWS = [tuple(cell.replace(r"\|", "|") for cell in row) for row in ROW.findall(PAGE)]


def told(rule: str, example: str) -> dict[str, str]:
    """The severities of the rules that an example fires."""
    text = "hello"
    options: dict[str, JsonValue] = {"allowed_tools": ["Bash"]}
    if rule.startswith("scope."):
        options = json.loads(example)
    else:
        text, _ = with_made_values(example, random.Random)
    found: Any = judge("claude", [text], options).reasons
    return {reason.rule: reason.severity for reason in found}


@pytest.mark.parametrize(("rule", "severity", "fires", "looks_alike"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_is_true(rule: str, severity: str, fires: str, looks_alike: str) -> None:
    """One example fires, with this severity; its look-alike does not."""
    assert told(rule, fires).get(rule) == severity
    assert rule not in told(rule, looks_alike)


def test_every_rule_has_a_row() -> None:
    """None is missing and none is told twice."""
    rules = [row[0] for row in ROWS]
    assert len(rules) == len(set(rules))
    known = {f"destructive.{rule.name}" for rule in DESTRUCTIVE} | {f"injection.{rule.name}" for rule in INJECTION}
    known |= {f"secret.{name}" for name in rule_names()}
    known |= {"destructive.delete-tree", "injection.exfiltration", "injection.hidden-text"}
    assert known == {rule for rule in rules if not rule.startswith("scope.")}


def test_the_page_is_of_this_version() -> None:
    """A change of the rules is a change of the page."""
    assert f"`{RULES_VERSION}` now" in PAGE
