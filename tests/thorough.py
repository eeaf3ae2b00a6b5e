"""A pytest plug-in: which variants of long tests only a thorough run takes.

`MESH_TEST_THOROUGH=1` makes a run thorough; `.ci/run` sets it. Each variant repeats what another one shows: on another
broker, by another error code or another signal.
"""

from __future__ import annotations

import os
import re

import pytest

VARIABLE = "MESH_TEST_THOROUGH"

VARIANTS = (
    # The other broker.
    r"tests/faults/.+\[kafka\]",
    # The other errors by which a Redis refuses: READONLY and OOM stay.
    r"test_redis_refuses\.py::.+\[(MASTERDOWN|MISCONF|NOAUTH|NOPERM|BUSY)\]",
    r"test_celery_refused\.py::test_a_worker.+\[(MASTERDOWN|MISCONF|NOAUTH|NOPERM|BUSY)\]",
    # The same end by another signal, or at another moment.
    r"test_demo\.py::test_an_interrupted_demo.+\[ctrl-c-at-start\]",
    r"test_mesh_up\.py::test_ctrl_c_while_it_starts\[foreground\]",
    r"test_people\.py::test_every_service_is_killed_during_a_pause",
)
"""What their ids match; each leaves at least one variant to every run."""

_REASON = f"a further variant of a long test: {VARIABLE}=1 takes it"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the variants, unless the run is thorough."""
    if os.environ.get(VARIABLE, "") == "1":
        return
    pattern = re.compile("|".join(VARIANTS))
    for item in items:
        if pattern.search(item.nodeid):
            item.add_marker(pytest.mark.skip(reason=_REASON))
