"""The embedded stack: time until `mesh up` is ready, memory of all its processes, the first result of the demo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import psutil

from bench.report import Figure

_EMBEDDED = "embedded"
_MIB = 2**20
_COMMAND_SECONDS = 120.0
_DEMO_SECONDS = 300.0
_FIRST_RESULT = re.compile(r"to the first result\D*([\d.]+) s")


def measure_stack() -> list[Figure]:
    """Twice up, since the first time has caches to fill; memory while idle, the second time."""
    with TemporaryDirectory(prefix="bench-") as directory:
        return _measured(Path(directory))


def _measured(directory: Path) -> list[Figure]:
    figures = []
    for run in ("first run", "second run"):
        began = time.perf_counter()
        up = _mesh(directory, "up", "--detach")
        waited = time.perf_counter() - began
        try:
            figures += [
                Figure(f"mesh up --detach, {run}: until the command returns", _EMBEDDED, waited, "s"),
                Figure(f"mesh up --detach, {run}: until all parts are ready", _EMBEDDED, up["ready_seconds"], "s"),
            ]
            if run == "second run":
                figures += _memory(directory, [process["pid"] for process in up["processes"] if process["pid"]])
        finally:
            _mesh(directory, "down")
    return figures


def measure_demo() -> list[Figure]:
    """What `make demo` says of itself, first and second run."""
    figures = []
    for run in ("first run", "second run"):
        ended = subprocess.run(
            [sys.executable, "-m", "eldermesh_cli.demo"],
            check=True,
            capture_output=True,
            text=True,
            timeout=_DEMO_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        found = _FIRST_RESULT.search(ended.stdout)
        if found is None:
            raise ValueError("the demo does not say when its first result came")
        figures.append(Figure(f"demo, {run}: from its start to the first result", _EMBEDDED, float(found[1]), "s"))
    return figures


def _mesh(directory: Path, *arguments: str) -> Any:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "eldermesh_cli.main", *arguments, "--json"],
        check=True,
        capture_output=True,
        timeout=_COMMAND_SECONDS,
        cwd=directory,
        env=_environment(directory),
        stdin=subprocess.DEVNULL,
    )
    return orjson.loads(ended.stdout)


def _environment(directory: Path) -> Mapping[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    return inherited | {"MESH_DATA_DIR": str(directory / "mesh")}


def _memory(directory: Path, pids: Sequence[int]) -> list[Figure]:
    """Of the supervisor and everything below it; a shared page counts in PSS by its share, in RSS each time."""
    runtime = orjson.loads((directory / "mesh" / "runtime.json").read_bytes())
    tops = [psutil.Process(pid) for pid in (runtime["supervisor"]["pid"], *pids)]
    processes = {each.pid: each for top in tops for each in (top, *top.children(recursive=True))}
    memory = [each.memory_full_info() for each in processes.values()]
    name = f"memory of the idle stack, {len(processes)} processes"
    return [
        Figure(f"{name}, PSS", _EMBEDDED, sum(each.pss for each in memory) / _MIB, "MiB"),
        Figure(f"{name}, RSS summed", _EMBEDDED, sum(each.rss for each in memory) / _MIB, "MiB"),
    ]
