"""A pytest plug-in: with `MESH_REQUIRE_KAFKA=1` no test that needs Apache Kafka may be skipped; so for the others.

Where a server cannot be had, tests marked with its name skip themselves. The continuous integration sets the
variables, so that there a missing server is a failure and never a silent gap.
"""

import os
from collections.abc import Generator

import pytest

VARIABLES = {
    "kafka": "MESH_REQUIRE_KAFKA",
    "jaeger": "MESH_REQUIRE_JAEGER",
    "asyncapi": "MESH_REQUIRE_ASYNCAPI",
    "redis": "MESH_REQUIRE_REDIS",
    "prometheus": "MESH_REQUIRE_PROMETHEUS",
    "containers": "MESH_REQUIRE_CONTAINERS",
}
"""The marker of tests that need a server → the variable that requires it."""


def is_required(marker: str) -> bool:
    """Whether no test with this marker may be skipped."""
    return os.environ.get(VARIABLES[marker], "") == "1"


def _required() -> dict[str, str]:
    return {marker: variable for marker, variable in VARIABLES.items() if is_required(marker)}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test that needs a required server into a failure. An expected failure is not a skip."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        for marker, variable in _required().items():
            if item.get_closest_marker(marker) is not None:
                report.outcome = "failed"
                report.longrepr = f"{variable}=1 and this {marker} test was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into a failure: nobody can see which of its tests were marked."""
    report = yield
    required = _required()
    if required and report.outcome == "skipped":
        report.outcome = "failed"
        variables = ", ".join(f"{variable}=1" for variable in required.values())
        report.longrepr = f"{variables} and {collector.nodeid} was skipped as a whole: {report.longrepr}"
    return report
