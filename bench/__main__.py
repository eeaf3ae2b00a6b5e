"""`python -m bench [BENCHMARK…] [--broker kafka|embedded|both]`: figures beside the raw libraries."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from bench.advised_job import measure_advised_job
from bench.burst import measure_burst
from bench.claude_prompt import measure_claude_prompt
from bench.ended import ENDED, measure_ended
from bench.fold_rate import measure_fold_rate
from bench.incident import measure_incident
from bench.items.rates import SIZES, measure_items
from bench.noop_job import measure_noop_job
from bench.page import Page
from bench.report import Figure, show, write_json
from bench.retrieval import measure_retrieval
from bench.sages import measure_sages
from bench.stack import measure_demo, measure_stack
from bench.tracing import measure_tracing
from tests.fresh_topics import Profile
from tests.kafka_server import kafka_missing

_BURST = 5_000
_FOLDED_JOBS = 5_000
_LEAST_JOBS = 20
_PROMPTS = 30
_LEARNED_JOBS = 10_000
_PIPE_WIDTH = 130

_ON_A_BROKER: dict[str, Callable[[Profile, Path, argparse.Namespace], Coroutine[Any, Any, list[Figure]]]] = {
    "noop": lambda profile, directory, chosen: measure_noop_job(profile, directory, chosen.jobs),
    "tracing": lambda profile, directory, chosen: measure_tracing(profile, directory, chosen.jobs),
    "advice": lambda profile, directory, chosen: measure_advised_job(profile, directory, chosen.jobs),
    "fold": lambda profile, directory, chosen: measure_fold_rate(profile, directory, chosen.folded_jobs),
    "burst": lambda profile, directory, chosen: measure_burst(profile, directory, chosen.burst),
    "items": lambda profile, directory, chosen: measure_items(profile, directory, chosen.items),
    "ended": lambda profile, directory, chosen: measure_ended(profile, directory, chosen.ended),
    "claude": lambda profile, directory, _: measure_claude_prompt(profile, directory, _PROMPTS),
    "sages": lambda profile, directory, _: measure_sages(profile, directory, _LEARNED_JOBS),
}
_BY_ITSELF: dict[str, Callable[[], list[Figure]]] = {
    "retrieval": measure_retrieval,
    "incident": measure_incident,
    "stack": measure_stack,
    "demo": measure_demo,
}
BENCHMARKS = (*_ON_A_BROKER, *_BY_ITSELF)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write JSON. Goals are goals, not gates: the status is 0 whatever was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures beside the raw libraries.")
    parser.add_argument("benchmarks", nargs="*", metavar="{" + ",".join(BENCHMARKS) + "}", help="which; default all")
    parser.add_argument("--broker", choices=("kafka", "embedded", "both"), default="both")
    parser.add_argument("--jobs", type=int, default=200, help="no-op jobs to measure")
    parser.add_argument("--folded-jobs", type=int, default=_FOLDED_JOBS, help="one-item jobs whose facts are folded")
    parser.add_argument("--items", type=int, nargs="+", default=SIZES, help="items a job, for `items`")
    parser.add_argument("--ended", type=int, default=ENDED, help="jobs that have ended, for `ended`")
    parser.add_argument("--burst", type=int, default=_BURST, help="one-item jobs at once, for `burst`")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--page", type=Path, help="write a page of the docs here, too")
    chosen = parser.parse_args(arguments)
    names = chosen.benchmarks or list(BENCHMARKS)
    if unknown := sorted(set(names) - set(BENCHMARKS)):
        parser.error(f"there is no benchmark {unknown[0]!r}")
    if min(chosen.jobs, chosen.folded_jobs) < _LEAST_JOBS:
        parser.error(f"fewer than {_LEAST_JOBS} jobs say nothing")
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    page = None if chosen.page is None else Page(chosen.page)
    measured: dict[str, list[Figure]] = {}
    for number, name in enumerate(names, 1):
        console.print(f"{number} of {len(names)}: {name}")
        measured[name] = _measure(name, _profiles(chosen.broker, console), chosen)
        # Another one may fail, and these took long.
        if chosen.json is not None:
            write_json(_all(measured), chosen.json)
        if page is not None:
            page.write(measured)
    show(_all(measured), console)
    return 0


def _all(measured: Mapping[str, list[Figure]]) -> list[Figure]:
    return [figure for figures in measured.values() for figure in figures]


def _profiles(broker: str, console: Console) -> list[Profile]:
    wanted: list[Profile] = ["kafka", "embedded"] if broker == "both" else [broker]  # type: ignore[list-item]  # a choice
    missing = kafka_missing()
    if "kafka" in wanted and missing is not None:
        console.print(f"Without Apache Kafka: {missing}")
        wanted.remove("kafka")
    return wanted


def _measure(name: str, profiles: Sequence[Profile], chosen: argparse.Namespace) -> list[Figure]:
    if name in _BY_ITSELF:
        return _BY_ITSELF[name]()
    figures: list[Figure] = []
    for profile in profiles:
        with TemporaryDirectory(prefix="bench-") as directory:
            figures += asyncio.run(_ON_A_BROKER[name](profile, Path(directory), chosen))
    return figures


if __name__ == "__main__":
    sys.exit(main())
