"""What a benchmark measured, as JSON and as a table."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import Any, Literal

import psutil
from rich.console import Console
from rich.table import Table

_GIB = 2**30

Unit = Literal["µs", "ms", "s", "B", "MiB", "/s", "%"]
_PACKAGES = ("eldermesh", "aiokafka", "celery", "faststream", "ray", "redis", "opentelemetry-sdk", "pydantic")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; `ratio` is to what the raw libraries took in the same run, where there is such a thing.

    Attributes:
        name: What was measured.
        broker: On which broker.
        value: In `unit`.
        unit: `µs`, `ms`, `s`, `B`, `MiB`, `/s` or `%`.
        raw: The same of the raw libraries.
        goal: Bound of the ratio, or of the value where there is no ratio in question.
        met: Whether it is; None where there is no goal.
    """

    name: str
    broker: str
    value: float
    unit: Unit
    raw: float | None = None
    goal: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """Value by raw."""
        return None if not self.raw else self.value / self.raw

    def told(self) -> tuple[str, str, str, str]:
        """Value, raw, ratio, and goal with whether it is met, as text."""
        raw = "" if self.raw is None else f"{self.raw:,.1f} {self.unit}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        mark = {None: "", True: " ✓", False: " ✗"}[self.met]
        return f"{self.value:,.1f} {self.unit}", raw, ratio, f"{self.goal}{mark}"


def percentile(values: Sequence[float], percent: int) -> float:
    """A percentile of at least two values, interpolated (`statistics.quantiles`, inclusive)."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print a table."""
    table = Table(title="ElderMesh beside the raw libraries")
    for heading in ("figure", "broker"):
        table.add_column(heading)
    for heading in ("value", "raw", "ratio", "goal"):
        table.add_column(heading, justify="right")
    for figure in figures:
        table.add_row(figure.name, figure.broker, *figure.told())
    console.print(table)


def write_json(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures with what they depend on."""
    document = circumstances() | {"figures": [asdict(figure) | {"ratio": figure.ratio} for figure in figures]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def circumstances() -> dict[str, Any]:
    """What figures depend on: date, machine, versions."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / _GIB),
            "python": platform.python_version(),
            "load_before": round(os.getloadavg()[2], 2),
        },
        "versions": {name: version(name) for name in _PACKAGES},
    }
