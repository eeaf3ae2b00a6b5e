"""A pytest plug-in: which long tests only a thorough run takes.

`MESH_TEST_THOROUGH=1` makes a run thorough; `.ci/run` sets it.
"""

from __future__ import annotations

import os
import re

import pytest

from tests.required_servers import VARIABLES as SERVER_VARIABLES
from tests.required_servers import is_required

VARIABLE = "MESH_TEST_THOROUGH"

CHILDREN_MEASURED = "COVERAGE_PROCESS_CONFIG"
"""By this variable coverage measures child processes."""

VARIANTS = (
    # The other broker.
    r"tests/(faults|integration)/.+\[kafka\]",
    r"test_lifecycle\.py::test_cancelled_at_every_step\[kafka-",
    # The other errors by which a Redis refuses: READONLY stays.
    r"test_redis_refuses\.py::.+\[(OOM|MASTERDOWN|MISCONF|NOAUTH|NOPERM|BUSY)\]",
    r"test_celery_refused\.py::.+\[(OOM|MASTERDOWN|MISCONF|NOAUTH|NOPERM|BUSY)\]",
    # The same on Ray: Celery stays.
    r"test_jaeger\.py::test_a_job_in_jaeger\[ray\]",
    r"test_ray_runners\.py::test_a_task_before_its_time",
    # The other faults of a container: a kill stays.
    r"containers/test_replicas\.py::.+\[(paused|cut_off)-",
    # Another odd name.
    r"test_ray_names\.py::test_a_job_runs_on_ray\[(letters|bytes)",
    # The same on another service: the router stays.
    r"test_heartbeats\.py::test_a_process_that_stands_still\[(worker|claude_exec|sages|notifier)\]",
)
"""Each repeats what another one shows, which every run takes: on another broker or engine, or by another error."""

LONG = (
    # A broker that does not answer for long, or is killed; Redis that refuses stays.
    r"test_kafka_refuses\.py::",
    r"test_producer\.py::test_a_frozen_broker",
    r"test_client_restart\.py::",
    r"test_embedded_servers\.py::test_apache_kafka_keeps_its_log",
    r"test_full_disk\.py::",
    # Kills: many in one job, or of parts that test_kills.py and test_requests_faults.py kill once. Ray's head and
    # runners are stopped and killed here alone.
    r"test_admission\.py::test_killed_again_and_again",
    r"test_claude_jobs\.py::test_kill_9_of_the_worker",
    r"test_ray_kills\.py::test_(the_head_is|runners_and_the_router_are)_killed",
    r"test_ray_kills\.py::test_a_runner_that_is_told_to_stop",
    r"test_ray_engine\.py::test_(a_router_that_was_killed|work_comes_back)",
    r"test_claude_kills\.py::",
    r"test_people\.py::test_every_service_is_killed",
    r"test_requests_faults\.py::test_(a_prompt_that_kills_its_runners|killed_before_its_owner_knew)",
    r"test_sages_kills\.py::test_(killed_sages|sages_that_are_late)",
    r"test_router_kills\.py::",
    # Guards of the owner: the random runs of the history and their mutations show each of them in every run.
    r"test_owner_faults\.py::test_(a_stale_owner|a_flushed_redis|a_redis_from_an_older_file|every_task_delivered_twice)",
    r"test_owner_faults\.py::test_restart_over_five_unfinished_jobs",
    # Many jobs or prompts, or a core for long.
    r"test_owner_faults\.py::test_restart_over_ended_jobs_does_nothing",
    r"test_long_item\.py::",
    r"test_outcomes\.py::test_(twenty_at_once|the_cli_judges_schemas_as_we_do)",
    r"test_requests_faults\.py::test_two_services_share_the_work",
    r"test_bench\.py::",
    # One trace to the model call: on a whole mesh it stays (test_requests_trace.py), here it is also read in a viewer.
    r"test_claude_jobs\.py::test_one_trace_to_the_model_call",
    # A project of the user's whose modules have our names: a mesh, and each service in turn; the command itself stays.
    r"test_users_project\.py::test_(users_modules_are|a_large_result_lies|modules_that_are_started)",
    # A mesh that starts Ray by itself: jobs on a Ray that runs stay (test_ray_engine.py).
    r"test_ray_on_demand\.py::",
    # The example that takes uploads.
    r"test_examples\.py::test_an_upload",
    # How a prompt fails, in a job: the same failures by themselves stay (test_outcomes.py).
    r"test_claude_jobs\.py::test_failures_keep_their_words",
    # Waits for limits of heartbeats and connections; a router that stands still stays.
    r"test_heartbeats\.py::test_an_owner_that_was_cancelled",
    r"test_celery_queues\.py::test_a_beat_that_stands_still",
    r"test_celery_connections\.py::test_a_worker_with_work",
    r"test_doctor_workers\.py::test_a_busy_worker",
    # Waits for the limit of a prompt, and for that of a drain.
    r"test_requests\.py::test_time_is_over",
    r"test_pauses\.py::test_drained_worker",
    # The longest of the mutations of the history.
    r"test_mutations\.py::test_mutated_code_breaks_one\[(the gate of an earlier|`applied` as)",
    # The check of traces itself: each carrier of a trace is dropped once.
    r"test_trace_carriers\.py::",
    # An example of four stages; its shadow that fails stays.
    r"test_migration\.py::test_each_stage_counts_the_same",
    # A mesh in the background; the README's quick start, which brings one up and down, stays.
    r"test_mesh_up\.py::test_in_the_background_until_down",
    # A mesh whose broker or supervisor dies, one in the foreground, one that Ctrl-C stops twice, or while it starts.
    # The stacks of test_stack.py, without services, stay: the same happens to them.
    r"test_mesh_up\.py::test_(the_death_of_the_broker|nothing_outlives_a_killed_supervisor)",
    r"test_mesh_up\.py::test_(in_the_foreground_until_ctrl_c|a_second_ctrl_c|ctrl_c_while_it_starts)",
    # `make demo` itself, to its end and interrupted; the README's quick start stays.
    r"test_demo\.py::test_(the_demo_holds_what_it_claims|an_interrupted_demo)",
)
"""Each takes a minute, or 20 seconds of CPU."""

SERVERS = ("kafka", "jaeger", "redis", "prometheus")
"""Tests with these markers: their servers take long to start, and a run takes the same on machines without them."""

_REPEATS = re.compile("|".join(VARIANTS + LONG))
_REASON = f"a long test that only {VARIABLE}=1 takes"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip them, unless the run is thorough; tests with a server, also unless that is required."""
    if os.environ.get(VARIABLE, "") == "1":
        return
    servers = [name for name in SERVERS if not is_required(name)]
    for item in items:
        if _REPEATS.search(item.nodeid):
            item.add_marker(pytest.mark.skip(reason=_REASON))
        elif server := next((name for name in servers if item.get_closest_marker(name) is not None), None):
            reason = f"a test with a server of its own that only {VARIABLE}=1 takes, or {SERVER_VARIABLES[server]}=1"
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def repeats_are_not_measured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage costs a child half as much CPU again, and what is killed writes none.

    Other tests take the same paths; these are about kills, times and other servers.
    """
    if request.node.nodeid.startswith("tests/faults/") or _REPEATS.search(request.node.nodeid):
        monkeypatch.delenv(CHILDREN_MEASURED, raising=False)
