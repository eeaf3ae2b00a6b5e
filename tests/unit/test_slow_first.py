"""The order in which several processes take the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slow_first import LONGEST, SlowFirst

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("beginning", list(LONGEST))
def test_what_is_named_is_there(beginning: str) -> None:
    """A file that was renamed would come last again, and its neighbours wait for it."""
    path, _, function = beginning.partition("::")
    assert (ROOT / path).exists()
    assert not function or f"def {function}" in (ROOT / path).read_text("utf-8")


class _Node:
    """A worker that is told what to run."""

    shutting_down = False

    def __init__(self) -> None:
        self.gateway = self
        self.id = "worker"
        self.told: list[int] = []

    def send_runtest_some(self, indexes: list[int]) -> None:
        self.told.extend(indexes)

    def shutdown(self) -> None:
        """There is no more."""


def test_long_tests_come_first_and_alone(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was collected first; files that share a server, and other files, stay whole, long ones come first."""
    tests = [
        "tests/integration/test_jaeger.py::test_1",
        "tests/unit/test_a.py::test_1",
        "tests/unit/test_a.py::test_2",
        "tests/integration/test_b.py::test_1[x::y]",
        "tests/integration/test_b.py::test_2",
        "tests/faults/test_c.py::test_1",
        "tests/faults/test_c.py::test_2",
        "tests/integration/whole_mesh/test_d.py::test_1",
        "tests/integration/whole_mesh/test_e.py::test_1",
        "tests/integration/engines/test_ray_engine.py::test_1",
    ]
    monkeypatch.setattr(pytestconfig.option, "tx", ["2*popen"])
    scheduler = SlowFirst(pytestconfig)
    first, second = _Node(), _Node()
    for node in (first, second):
        scheduler.add_node(node)
        scheduler.registered_collections[node] = tests
    scheduler.schedule()
    scheduler.schedule()
    # Both have three to do: whoever is first will take the quick ones.
    assert (first.told, second.told) == ([7, 8, 6], [5, 0, 9])
    assert list(scheduler.workqueue) == ["tests/unit/test_a.py", "tests/integration/test_b.py"]
