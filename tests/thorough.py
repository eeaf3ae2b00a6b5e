"""A pytest plug-in: which long tests only a thorough run takes.

`MESH_TEST_THOROUGH=1` makes a run thorough; `.ci/run` sets it.
"""

from __future__ import annotations

import os
import re

import pytest

VARIABLE = "MESH_TEST_THOROUGH"

VARIANTS = (
    # The other broker.
    r"tests/(faults|integration)/.+\[kafka\]",
    # The other errors by which a Redis refuses: READONLY and OOM stay.
    r"test_redis_refuses\.py::.+\[(MASTERDOWN|MISCONF|NOAUTH|NOPERM|BUSY)\]",
    r"test_celery_refused\.py::test_a_worker.+\[(MASTERDOWN|MISCONF|NOAUTH|NOPERM|BUSY)\]",
    # The same end by another signal, or at another moment.
    r"test_demo\.py::test_an_interrupted_demo.+\[ctrl-c-at-start\]",
    r"test_mesh_up\.py::test_ctrl_c_while_it_starts\[foreground\]",
)
"""Each repeats what another one shows, which every run takes: on another broker, by another error code or signal."""

LONG = (
    # A dependency that does not answer for long; Redis that refuses stays.
    r"test_kafka_refuses\.py::",
    r"test_full_disk\.py::",
    # Many kills in one job; test_kills.py and test_requests_faults.py kill the parts once. Ray's head and runners are
    # killed here alone.
    r"test_ray_kills\.py::test_(the_head_is|runners_and_the_router_are)_killed",
    r"test_ray_kills\.py::test_a_runner_that_is_told_to_stop",
    r"test_ray_engine\.py::test_(a_router_that_was_killed|work_comes_back)",
    r"test_claude_kills\.py::",
    r"test_people\.py::test_every_service_is_killed",
    r"test_requests_faults\.py::test_(a_prompt_that_kills_its_runners|killed_before_its_owner_knew)",
    r"test_sages_kills\.py::test_killed_sages",
    r"test_owner_faults\.py::test_restart_over_five_unfinished_jobs",
    # Many jobs or prompts, or a core for long.
    r"test_owner_faults\.py::test_restart_over_ended_jobs_does_nothing",
    r"test_long_item\.py::",
    r"test_outcomes\.py::test_(twenty_at_once|the_cli_judges_schemas_as_we_do)",
    r"test_requests_faults\.py::test_two_services_share_the_work",
    # A mesh in the foreground, and one that Ctrl-C stops twice; a mesh in the background stays, and so does a
    # supervisor that is told to stop, or to hurry.
    r"test_mesh_up\.py::test_(in_the_foreground_until|a_second)_ctrl_c",
    # `make demo` itself; an interrupted one stays, and so does the README's quick start.
    r"test_demo\.py::test_the_demo_holds_what_it_claims",
)
"""Each takes a minute, or 20 seconds of CPU."""

_REASON = f"a long test that only {VARIABLE}=1 takes"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip them, unless the run is thorough."""
    if os.environ.get(VARIABLE, "") == "1":
        return
    pattern = re.compile("|".join(VARIANTS + LONG))
    for item in items:
        if pattern.search(item.nodeid):
            item.add_marker(pytest.mark.skip(reason=_REASON))
