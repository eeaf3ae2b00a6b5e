"""Write deploy/grafana/dashboards from the registry of metrics; with --check only compare.

Usage: grafana_dashboards.py [--check] [DIRECTORY]
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run by path: the project has to be found first

from generated_files import write_or_check

from shared.telemetry import metric_names as metrics
from shared.telemetry import names
from shared.telemetry import process_metrics as process
from shared.telemetry.metric_names import Metric, prometheus_label

DASHBOARDS = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "dashboards"

_DATASOURCE = {"type": "prometheus", "uid": "mesh-prometheus"}
_WIDTH, _HEIGHT, _PANELS_A_ROW = 8, 8, 3
_QUANTILES = (0.5, 0.95, 0.99)
_QUIET = "Empty while nothing of the kind has happened."


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph of queries, each after its legend. `is_quiet`: without troubles, or without Beat, it has no data."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    is_quiet: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels; `name` is its file."""

    name: str
    title: str
    panels: tuple[Panel, ...]


def _by(attributes: Sequence[str]) -> str:
    return f"by ({', '.join(map(prometheus_label, attributes))}) " if attributes else ""


def _legend(attributes: Sequence[str], otherwise: str) -> str:
    return " ".join(f"{{{{{prometheus_label(each)}}}}}" for each in attributes) or otherwise


def _rate(metric: Metric, *attributes: str, title: str, unit: str = "ops", is_quiet: bool = False) -> Panel:
    query = f"sum {_by(attributes)}(rate({metric.prometheus_name}[$__rate_interval]))"
    return Panel(title, unit, ((_legend(attributes, metric.meaning), query),), is_quiet)


def _level(metric: Metric, *attributes: str, title: str, unit: str = "short", function: str = "sum") -> Panel:
    query = f"{function} {_by(attributes)}({metric.prometheus_name})"
    return Panel(title, unit, ((_legend(attributes, metric.meaning), query),))


def _quantiles(metric: Metric, *attributes: str, title: str) -> Panel:
    buckets = f"sum {_by(('le', *attributes))}(rate({metric.prometheus_name}_bucket[$__rate_interval]))"
    lines = tuple(
        (f"p{quantile * 100:.0f} {_legend(attributes, '')}".strip(), f"histogram_quantile({quantile}, {buckets})")
        for quantile in _QUANTILES
    )
    return Panel(title, "s", lines)


_HOURLY_COST = f"3600 * sum(rate({metrics.PROMPT_COST.prometheus_name}[$__rate_interval]))"

DASHBOARDS_OF_THE_MESH = (
    Dashboard(
        "jobs",
        "Mesh: jobs",
        (
            _rate(metrics.JOBS_ACCEPTED, names.JOB_WORKLOAD, title="Jobs accepted per second"),
            _rate(metrics.JOBS_ENDED, names.JOB_STATUS, title="Jobs ended per second"),
            _quantiles(metrics.JOB_DURATION, title="From acceptance to end"),
            _rate(metrics.ITEMS_ENDED, names.JOB_WORKLOAD, names.ITEM_STATUS, title="Items ended per second"),
            _level(metrics.OWNER_LAG, names.MESSAGING_DESTINATION_NAME, title="Facts that wait for their owner"),
            _quantiles(metrics.OWNER_BATCH_DURATION, title="One batch of the owner"),
            _rate(
                metrics.DEAD_LETTERS,
                names.MESSAGING_DESTINATION_NAME,
                names.ERROR_TYPE,
                title="Dead letters per second",
                is_quiet=True,
            ),
            _rate(
                metrics.OWNERSHIPS_LOST,
                names.MESSAGING_DESTINATION_NAME,
                title="Lost ownerships per second",
                is_quiet=True,
            ),
        ),
    ),
    Dashboard(
        "engines",
        "Mesh: engines",
        (
            _rate(metrics.CHUNKS_DISPATCHED, names.ENGINE, title="Chunks dispatched per second"),
            _level(metrics.CHUNKS_RUNNING, names.ENGINE, title="Chunks that run"),
            _quantiles(metrics.CHUNK_DURATION, names.ENGINE, title="One run of a chunk"),
            _quantiles(metrics.QUEUE_WAIT_DURATION, names.ENGINE, title="From dispatch to claim"),
        ),
    ),
    Dashboard(
        "claude",
        "Mesh: Claude",
        (
            _rate(metrics.PROMPTS_ENDED, names.REQUEST_OUTCOME, title="Prompts per second, by outcome"),
            _quantiles(metrics.PROMPT_DURATION, title="One prompt"),
            _rate(metrics.PROMPT_TOKENS, names.TOKEN_KIND, title="Tokens per second"),
            Panel("Cost per hour", "currencyUSD", (("cost", _HOURLY_COST),)),
            _rate(metrics.REQUESTS_ACCEPTED, names.REQUEST_TENANT, title="Requests accepted per second"),
            _rate(metrics.REQUESTS_ENDED, names.REQUEST_STATUS, title="Requests ended per second"),
            _quantiles(metrics.REQUEST_DURATION, title="A request, from acceptance to end"),
            _level(metrics.REQUESTS_RUNNING, title="Requests that run"),
        ),
    ),
    Dashboard(
        "queues",
        "Mesh: queues",
        (
            # Each router reports the same numbers.
            _level(
                metrics.QUEUE_DEPTH, names.MESSAGING_DESTINATION_NAME, title="Tasks that wait, by queue", function="max"
            ),
            _level(metrics.QUEUE_UNACKNOWLEDGED, title="Tasks that workers hold", function="max"),
            _level(metrics.REDIS_MEMORY, title="Memory of Redis", unit="bytes", function="max"),
            _rate(metrics.RECORDS_CONSUMED, names.MESSAGING_DESTINATION_NAME, title="Records handled per second"),
            _quantiles(metrics.RECORD_DURATION, names.MESSAGING_DESTINATION_NAME, title="Time to handle a record"),
            _rate(
                metrics.HOUSEKEEPING_RUNS,
                names.HOUSEKEEPING_OUTCOME,
                title="Housekeeping runs per second",
                is_quiet=True,
            ),
            _rate(metrics.BLOBS_REMOVED, title="Old blobs removed per second", is_quiet=True),
        ),
    ),
    Dashboard(
        "people",
        "Mesh: notifications and advice",
        (
            _rate(metrics.NOTIFICATIONS_PLANNED, names.NOTIFICATION_CHANNEL, title="Notifications planned per second"),
            _rate(
                metrics.NOTIFICATION_ATTEMPTS,
                names.NOTIFICATION_CHANNEL,
                names.NOTIFICATION_OUTCOME,
                title="Sends per second",
            ),
            _rate(
                metrics.NOTIFICATIONS_FAILED,
                names.NOTIFICATION_CHANNEL,
                title="Notifications given up per second",
                is_quiet=True,
            ),
            _rate(metrics.JOBS_ADVISED, names.JOB_WORKLOAD, title="Jobs advised per second"),
            _quantiles(metrics.SAGE_DURATION, names.SAGE, title="From question to answer, by sage"),
        ),
    ),
    Dashboard(
        "processes",
        "Mesh: services and processes",
        (
            Panel(
                "Processes of each service",
                "short",
                (("{{job}} {{host_name}}", f"count by (job, host_name) ({process.PROCESS_MEMORY.prometheus_name})"),),
            ),
            _level(process.PROCESS_MEMORY, "job", "host.name", title="Memory", unit="bytes"),
            _rate(process.PROCESS_CPU, "job", "host.name", title="Cores", unit="short"),
            _level(process.PROCESS_THREADS, "job", "host.name", title="Threads"),
            _level(process.PROCESS_FILES, "job", "host.name", title="Open files"),
        ),
    ),
)


def _grafana_panel(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        **({"description": _QUIET} if panel.is_quiet else {}),
        "datasource": _DATASOURCE,
        "gridPos": {
            "x": number % _PANELS_A_ROW * _WIDTH,
            "y": number // _PANELS_A_ROW * _HEIGHT,
            "w": _WIDTH,
            "h": _HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + position), "datasource": _DATASOURCE, "expr": query, "legendFormat": legend}
            for position, (legend, query) in enumerate(panel.queries)
        ],
    }


def _grafana_dashboard(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": f"mesh-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["eldermesh"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "panels": [_grafana_panel(number, panel) for number, panel in enumerate(dashboard.panels)],
    }


def generated(directory: Path) -> Iterator[tuple[Path, str]]:
    """The files that have to be in `directory`, with their text."""
    for dashboard in DASHBOARDS_OF_THE_MESH:
        yield directory / f"{dashboard.name}.json", json.dumps(_grafana_dashboard(dashboard), indent=2) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the files; with --check compare them, exit status 1 when one differs, is missing, or is one too many."""
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    directory = paths[0] if paths else DASHBOARDS
    files = dict(generated(directory))
    stale = set(directory.glob("*.json")) - set(files)
    return write_or_check(files, stale, check="--check" in arguments, script="scripts/grafana_dashboards.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
