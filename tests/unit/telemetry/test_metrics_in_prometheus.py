"""Rules and dashboards name metrics and labels that exist, as Prometheus writes them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.telemetry import metric_names, names
from shared.telemetry.metric_names import METRICS, Metric, prometheus_label
from shared.telemetry.process_metrics import PROCESS_CPU, SHOWN_PROCESS_METRICS
from tests.prometheus_server import CONFIGURATION

_ROOT = Path(__file__).resolve().parents[3]
_SCRIPT = _ROOT / "scripts" / "grafana_dashboards.py"
_DASHBOARDS = _ROOT / "deploy" / "grafana" / "dashboards"

_METRIC = re.compile(r"\b(?:eldermesh|messaging|process)_[A-Za-z0-9_]+(?=[\[{)\s]|$)")
_GROUPING = re.compile(r"\bby \(([^)]*)\)")
_MATCHERS = re.compile(r"\{([^}]*)\}")
_OF_PROMETHEUS = {"le", "job", "instance", "host_name"}


def _rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((CONFIGURATION / "rules.yml").read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def _expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in _rules())
    for path in sorted(_DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            yield from (target["expr"] for target in panel["targets"])


def _series(metric: Metric) -> set[str]:
    name = metric.prometheus_name
    return (
        {f"{name}{suffix}" for suffix in ("_bucket", "_sum", "_count")} if metric.instrument == "histogram" else {name}
    )


def _labels(expression: str) -> set[str]:
    by = (label.strip() for group in _GROUPING.findall(expression) for label in group.split(","))
    matched = (re.split(r"[=!]", each)[0].strip() for text in _MATCHERS.findall(expression) for each in text.split(","))
    return {label for label in (*by, *matched) if label}


def test_every_name_in_rules_and_dashboards_is_in_the_registry() -> None:
    """A metric or label that no service sends would be an alert that never fires, or an empty panel."""
    series = set().union(*(_series(metric) for metric in (*METRICS, *SHOWN_PROCESS_METRICS)))
    labels = {prometheus_label(attribute.key) for attribute in names.ATTRIBUTES} | _OF_PROMETHEUS
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    expressions = list(_expressions())
    assert len(expressions) > 40
    for expression in expressions:
        without_labels = _GROUPING.sub("", _MATCHERS.sub("", expression))
        used = set(_METRIC.findall(without_labels))
        own = set(re.findall(r"mesh:[a-z_:0-9]+", expression))
        assert used | own, expression
        assert used <= series, expression
        assert own <= recorded, expression
        assert _labels(expression) <= labels, expression


def test_the_check_of_names_finds_a_wrong_one() -> None:
    """A name without its suffix is not taken for one with it."""
    assert _METRIC.findall("sum(rate(eldermesh_jobs_accepted[5m]))") == ["eldermesh_jobs_accepted"]
    assert _labels('x{job="a", status!="b"} by (le, z)') == {"job", "status", "le", "z"}


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (metric_names.DEAD_LETTERS, "eldermesh_dead_letters_total"),
        (metric_names.JOB_DURATION, "eldermesh_job_duration_seconds"),
        (metric_names.QUEUE_DEPTH, "eldermesh_queue_depth"),
        (metric_names.PROMPT_COST, "eldermesh_prompts_cost_USD_total"),
        (PROCESS_CPU, "process_cpu_time_seconds_total"),
    ],
)
def test_names_in_prometheus(metric: Metric, name: str) -> None:
    """Unit and type are suffixes; what is counted in words is not. A test on a real Prometheus looks at all of them."""
    assert metric.prometheus_name == name


def test_alerts_say_what_is_wrong_and_where_to_read_on() -> None:
    """One sentence, and a section of the page on troubles that is there."""
    alerts = [rule for rule in _rules() if "alert" in rule]
    assert len(alerts) == len({alert["alert"] for alert in alerts}) == 10
    page = (_ROOT / "docs" / "how-to" / "troubleshooting.md").read_text("utf-8")
    sections = {line.removeprefix("### ").strip().lower() for line in page.splitlines() if line.startswith("### ")}
    for alert in alerts:
        summary, runbook = alert["annotations"]["summary"], alert["annotations"]["runbook"]
        assert summary.endswith(".")
        assert runbook == f"docs/how-to/troubleshooting.md#{alert['alert'].lower()}"
        assert alert["alert"].lower() in sections
        assert alert["labels"]["severity"] in {"critical", "warning"}


def test_dashboards_are_what_the_registry_says(tmp_path: Path) -> None:
    """The committed files are what the script writes; one that differs, and one too many, are found."""
    assert subprocess.run([sys.executable, _SCRIPT, "--check"], check=False, timeout=120).returncode == 0
    subprocess.run([sys.executable, _SCRIPT, tmp_path], check=True, timeout=120)
    (tmp_path / "jobs.json").write_text("{}", "utf-8")
    (tmp_path / "old.json").write_text("{}", "utf-8")
    checked = subprocess.run(
        [sys.executable, _SCRIPT, "--check", tmp_path], check=False, timeout=120, capture_output=True, text=True
    )
    assert checked.returncode == 1
    assert "jobs.json" in checked.stderr
    assert "old.json" in checked.stderr
    assert "engines.json" not in checked.stderr


def test_dashboards_ask_the_data_source_that_grafana_is_given() -> None:
    """Its uid; and each panel has an id and a place of its own."""
    provisioned = yaml.safe_load((_DASHBOARDS.parent / "provisioning" / "datasources" / "mesh.yml").read_text("utf-8"))
    uids = {source["uid"] for source in provisioned["datasources"]}
    for path in _DASHBOARDS.glob("*.json"):
        panels = json.loads(path.read_text("utf-8"))["panels"]
        assert {panel["datasource"]["uid"] for panel in panels} == uids
        assert len({panel["id"] for panel in panels}) == len(panels)
        assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
