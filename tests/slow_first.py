"""A pytest plug-in: in what order several processes take the tests, so that none is left alone with the long ones."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

FILES, TESTS = "files", "tests"
MESH, WHEEL, RAY, KAFKA = "a whole mesh", "an installed wheel", "a head of Ray", "an Apache Kafka"
CONTAINERS = "a mesh in containers"

LONGEST = {
    "tests/containers/": CONTAINERS,
    "tests/integration/whole_mesh/": MESH,
    "tests/integration/installed/": WHEEL,
    "tests/integration/metrics/test_real_mesh.py": FILES,
    "tests/faults/test_redis_refuses.py": FILES,
    "tests/faults/": TESTS,
    "tests/integration/test_demo.py": TESTS,
    "tests/integration/test_mesh_up.py": TESTS,
    "tests/property/test_history_machine.py": FILES,
    "tests/integration/claude/test_claude_jobs.py": TESTS,
    "tests/integration/claude/test_claude_kills.py": TESTS,
    "tests/integration/claude/test_requests_faults.py": TESTS,
    "tests/integration/claude/test_people.py": TESTS,
    "tests/integration/claude/test_pauses.py": TESTS,
    "tests/integration/test_admission.py::test_killed": TESTS,
    "tests/integration/engines/test_celery_refused.py": TESTS,
    "tests/integration/test_heartbeats.py": TESTS,
    "tests/integration/test_nothing_left.py": TESTS,
    "tests/integration/test_bench.py": TESTS,
    "tests/integration/test_large_jobs.py": TESTS,
    "tests/property/test_mutations.py": FILES,
    "tests/integration/engines/test_ray_engine.py": RAY,
    "tests/integration/engines/test_ray_names.py": RAY,
    "tests/integration/engines/test_ray_runners.py": RAY,
    "tests/integration/test_jaeger.py": RAY,
    "tests/integration/kafka/": KAFKA,
    "tests/integration/test_path.py": KAFKA,
    "tests/integration/test_topic_admin.py": KAFKA,
    "tests/integration/test_log_ends.py": KAFKA,
    "tests/integration/consumer/test_consumer.py": KAFKA,
    "tests/integration/consumer/test_large_dead_letters.py": KAFKA,
    "tests/integration/test_embedded_servers.py": KAFKA,
    "tests/integration/": FILES,
}
"""What takes long, by the beginning of its ids, the longest first; the first that fits counts.

Whether files stay whole, or each test goes by itself: one that shares nothing with its neighbours but the servers of
the session. Files that need the same expensive server go to one process, so that it is started once.
"""


class SlowFirst(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """What is in `LONGEST` first, then the other files, the largest first."""

    def _split_scope(self, nodeid: str) -> str:
        kind = next((kind for beginning, kind in LONGEST.items() if nodeid.startswith(beginning)), FILES)
        if kind == TESTS:
            return nodeid
        return kind if kind != FILES else str(super()._split_scope(nodeid))

    def _assign_work_unit(self, node: Any) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=_place), last=False)
        super()._assign_work_unit(node)


def _place(scope: str) -> int:
    """Its place in `LONGEST`; the end for what is not in it."""
    places = (
        place for place, (beginning, kind) in enumerate(LONGEST.items()) if scope == kind or scope.startswith(beginning)
    )
    return next(places, len(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """For `--dist loadfile` only."""
    return SlowFirst(config, log) if config.getoption("dist") == "loadfile" else None
