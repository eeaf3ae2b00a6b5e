"""A pytest plug-in: with `MESH_REQUIRE_KAFKA=1` no test that needs Apache Kafka may be skipped.

Where no JDK or no jars are, tests marked `kafka` skip themselves. The continuous integration sets the variable,
so that there a missing Kafka is a failure and never a silent gap.
"""

import os
from collections.abc import Generator

import pytest

VARIABLE = "MESH_REQUIRE_KAFKA"


def _required() -> bool:
    return os.environ.get(VARIABLE, "") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test marked `kafka` into a failure. An expected failure is not a skip."""
    report = yield
    if (
        _required()
        and report.skipped
        and not hasattr(report, "wasxfail")
        and item.get_closest_marker("kafka") is not None
    ):
        report.outcome = "failed"
        report.longrepr = f"{VARIABLE}=1 and this kafka test was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into a failure: nobody can see which of its tests were marked."""
    report = yield
    if _required() and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"{VARIABLE}=1 and {collector.nodeid} was skipped as a whole: {report.longrepr}"
    return report
