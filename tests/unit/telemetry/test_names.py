"""The registry of span, metric and attribute names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv._incubating.metrics import messaging_metrics

from shared.telemetry import metric_names, names
from tests.trace_edges import (
    ADVICE_EDGES,
    CLAUDE_EDGES,
    DECISION_EDGES,
    EDGES,
    HOLD_NOTIFICATION_EDGES,
    NOTIFICATION_EDGES,
    PUBLISHER_EDGES,
    REQUEST_EDGES,
    REQUEST_PUBLISHER_EDGES,
    WAIT_EDGES,
)

_SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "telemetry_tables.py"


def test_the_page_has_the_tables_of_the_registry(tmp_path: Path) -> None:
    """`docs/reference/telemetry.md` is what the registry says; a page that differs is found."""
    assert subprocess.run([sys.executable, _SCRIPT, "--check"], check=False, timeout=120).returncode == 0
    other = tmp_path / "telemetry.md"
    page = (_SCRIPT.parents[1] / "docs" / "reference" / "telemetry.md").read_text("utf-8")
    other.write_text(page.replace("`queue wait` |", "`wait` |"), "utf-8")
    checked = subprocess.run(
        [sys.executable, _SCRIPT, "--check", other], check=False, timeout=120, capture_output=True, text=True
    )
    assert checked.returncode == 1
    assert "telemetry.md" in checked.stderr


def test_names_are_declared_once_and_attributes_are_known() -> None:
    """No name stands for two things, and spans and metrics use only declared attributes."""
    for declared in (
        [span.name for span in names.SPANS],
        [metric.name for metric in metric_names.METRICS],
        [attribute.key for attribute in names.ATTRIBUTES],
    ):
        assert len(declared) == len(set(declared))
    known = {attribute.key for attribute in names.ATTRIBUTES}
    for span in names.SPANS:
        assert set(span.attributes) <= known, span.name
    for metric in metric_names.METRICS:
        assert set(metric.attributes) <= known, metric.name


def test_every_declared_constant_is_in_the_tables() -> None:
    """A span, metric or attribute that is declared but not listed would not be documented."""
    constants = {name: value for name, value in vars(names).items() if name.isupper()}
    assert {v.name for v in constants.values() if isinstance(v, names.SpanName)} == {s.name for s in names.SPANS}
    metrics = {value.name for value in vars(metric_names).values() if isinstance(value, metric_names.Metric)}
    assert metrics == {metric.name for metric in metric_names.METRICS}
    keys = {value for value in constants.values() if isinstance(value, str)} - {names.KAFKA}
    assert keys == {attribute.key for attribute in names.ATTRIBUTES}


def test_names_of_our_own_begin_with_eldermesh() -> None:
    """Dashboards find them by it; all others are those of the OpenTelemetry conventions."""
    own = [metric.name for metric in metric_names.METRICS] + [attribute.key for attribute in names.ATTRIBUTES]
    assert {name.partition(".")[0] for name in own} <= {"eldermesh", "messaging", "error"}
    assert names.CLI_ATTEMPT == "eldermesh.cli.attempt"


def test_messaging_names_are_those_of_the_conventions() -> None:
    """What begins with `messaging.` exists in the OpenTelemetry conventions that are installed."""
    attributes = {value for value in vars(messaging_attributes).values() if isinstance(value, str)}
    metrics = {value for value in vars(messaging_metrics).values() if isinstance(value, str)}
    for attribute in names.ATTRIBUTES:
        assert not attribute.key.startswith("messaging.") or attribute.key in attributes
    for metric in metric_names.METRICS:
        assert not metric.name.startswith("messaging.") or metric.name in metrics


def test_the_edge_matrix_is_what_the_registry_says() -> None:
    """The edges that tests assert and the parents that the page documents are the same."""
    documented = {(parent, span.name) for span in names.SPANS for parent in span.parents}
    jobs = {*EDGES, *PUBLISHER_EDGES, *ADVICE_EDGES, *DECISION_EDGES, *WAIT_EDGES, *CLAUDE_EDGES}
    notices = {*NOTIFICATION_EDGES, *HOLD_NOTIFICATION_EDGES}
    assert documented == jobs | notices | {*REQUEST_EDGES, *REQUEST_PUBLISHER_EDGES}
