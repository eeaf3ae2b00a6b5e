"""`python -m bench [BENCHMARK…] [--broker kafka|embedded|both]`: figures beside the raw libraries."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bench.advised_job import measure_advised_job
from bench.claude_prompt import measure_claude_prompt
from bench.ended import ENDED, measure_ended
from bench.fold_rate import measure_fold_rate
from bench.incident import measure_incident
from bench.items.rates import SIZES, measure_items
from bench.noop_job import measure_noop_job
from bench.report import Figure, show, write_json
from bench.retrieval import measure_retrieval
from bench.sages import measure_sages
from bench.stack import measure_demo, measure_stack
from tests.fresh_topics import Profile
from tests.kafka_server import kafka_missing

BENCHMARKS = ("noop", "advice", "fold", "items", "ended", "claude", "sages", "retrieval", "incident", "stack", "demo")
_FOLDED_JOBS = 5_000
_LEAST_JOBS = 20
_PROMPTS = 30
_LEARNED_JOBS = 10_000
_PIPE_WIDTH = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write JSON. Goals are goals, not gates: the status is 0 whatever was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures beside the raw libraries.")
    parser.add_argument("benchmarks", nargs="*", metavar="{" + ",".join(BENCHMARKS) + "}", help="which; default all")
    parser.add_argument("--broker", choices=("kafka", "embedded", "both"), default="both")
    parser.add_argument("--jobs", type=int, default=200, help="no-op jobs to measure")
    parser.add_argument("--folded-jobs", type=int, default=_FOLDED_JOBS, help="one-item jobs whose facts are folded")
    parser.add_argument("--items", type=int, nargs="+", default=SIZES, help="items a job, for `items`")
    parser.add_argument("--ended", type=int, default=ENDED, help="jobs that have ended, for `ended`")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    chosen = parser.parse_args(arguments)
    names = chosen.benchmarks or list(BENCHMARKS)
    if unknown := sorted(set(names) - set(BENCHMARKS)):
        parser.error(f"there is no benchmark {unknown[0]!r}")
    if min(chosen.jobs, chosen.folded_jobs) < _LEAST_JOBS:
        parser.error(f"fewer than {_LEAST_JOBS} jobs say nothing")
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    figures: list[Figure] = []
    for name in names:
        figures += _measure(name, _profiles(chosen.broker, console), chosen)
    show(figures, console)
    if chosen.json is not None:
        write_json(figures, chosen.json)
    return 0


def _profiles(broker: str, console: Console) -> list[Profile]:
    wanted: list[Profile] = ["kafka", "embedded"] if broker == "both" else [broker]  # type: ignore[list-item]  # a choice
    missing = kafka_missing()
    if "kafka" in wanted and missing is not None:
        console.print(f"Without Apache Kafka: {missing}")
        wanted.remove("kafka")
    return wanted


def _measure(name: str, profiles: Sequence[Profile], chosen: argparse.Namespace) -> list[Figure]:
    without_broker = {"demo": measure_demo, "retrieval": measure_retrieval, "incident": measure_incident}
    if name in without_broker:
        return without_broker[name]()
    figures: list[Figure] = []
    for profile in profiles if name != "stack" else profiles[:1]:
        with TemporaryDirectory(prefix="bench-") as temporary:
            directory = Path(temporary)
            match name:
                case "noop":
                    figures += asyncio.run(measure_noop_job(profile, directory, chosen.jobs))
                case "advice":
                    figures += asyncio.run(measure_advised_job(profile, directory, chosen.jobs))
                case "fold":
                    figures += asyncio.run(measure_fold_rate(profile, directory, chosen.folded_jobs))
                case "items":
                    figures += asyncio.run(measure_items(profile, directory, chosen.items))
                case "ended":
                    figures += asyncio.run(measure_ended(profile, directory, chosen.ended))
                case "claude":
                    figures += asyncio.run(measure_claude_prompt(profile, directory, _PROMPTS))
                case "sages":
                    figures += asyncio.run(measure_sages(profile, directory, _LEARNED_JOBS))
                case _:
                    figures += measure_stack(directory)
    return figures


if __name__ == "__main__":
    sys.exit(main())
