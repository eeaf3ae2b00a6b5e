"""A pytest plug-in: in what order several processes take the tests, so that none is left alone with the long ones."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

EACH_ALONE = (
    "tests/faults/",
    "tests/integration/test_demo.py",
    "tests/integration/test_mesh_up.py",
    "tests/integration/claude/test_claude_jobs.py",
    "tests/integration/claude/test_claude_kills.py",
    "tests/integration/claude/test_requests_faults.py",
    "tests/integration/claude/test_people.py",
    "tests/integration/claude/test_pauses.py",
    "tests/integration/test_admission.py::test_killed",
    "tests/integration/test_celery_refused.py",
    "tests/integration/test_nothing_left.py",
)
"""Beginnings of the ids of long tests, which share nothing with their neighbours but the servers of the session."""

FILES_FIRST = ("tests/property/test_mutations.py", "tests/integration/test_users_project.py", "tests/integration/")
"""Beginnings of the names of files that take longer than the others."""


class SlowFirst(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Long tests first, each by itself; then the files of `FILES_FIRST`, then the other files, the largest first."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(EACH_ALONE) else str(super()._split_scope(nodeid))

    def _assign_work_unit(self, node: Any) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=_place), last=False)
        super()._assign_work_unit(node)


def _place(scope: str) -> int:
    prefixes = (*EACH_ALONE, *FILES_FIRST)
    return next((place for place, prefix in enumerate(prefixes) if scope.startswith(prefix)), len(prefixes))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """For `--dist loadfile` only."""
    return SlowFirst(config, log) if config.getoption("dist") == "loadfile" else None
