"""Finding workloads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from services.router.engines.python.workload import PythonWorkload
from shared.errors import ConfigurationError, DeadLetterError
from shared.workloads import LOAD_AGAIN_SECONDS, UnknownWorkloadError, Workload, WorkloadRegistry


class Closing:
    """A workload that says how it was closed."""

    def __init__(self, name: str, closed: list[str], error: BaseException | None = None) -> None:
        self.name = name
        self._closed = closed
        self._error = error

    async def close(self) -> None:
        """Note it."""
        self._closed.append(self.name)
        if self._error is not None:
            raise self._error


def made(closing: Closing) -> Callable[[], Workload]:
    """A factory; only `name` and `close` are asked for here."""
    return lambda: cast("Workload", closing)


def test_installed_workloads_are_found_by_entry_point() -> None:
    """`python` comes with the router, and is made once."""
    registry = WorkloadRegistry.installed()
    assert "python" in registry.names
    workload = registry.get("python")
    assert isinstance(workload, PythonWorkload)
    assert registry.get("python") is workload


def test_an_unknown_name_is_the_senders_mistake() -> None:
    """The reason names what there is."""
    registry = WorkloadRegistry({"b": made(Closing("b", [])), "a": made(Closing("a", []))})
    with pytest.raises(UnknownWorkloadError, match="'c' is not installed; installed: a, b") as refused:
        registry.get("c")
    assert isinstance(refused.value, DeadLetterError)
    assert refused.value.error_type == "invalid"


def test_a_plugin_that_cannot_be_loaded_is_the_operators() -> None:
    """So is one that calls itself otherwise than its entry point."""

    def broken() -> Any:
        raise ImportError("no such driver")

    def leaves() -> Any:
        raise SystemExit("no licence")

    registry = WorkloadRegistry({"broken": broken, "leaves": leaves, "named": made(Closing("other", []))})
    with pytest.raises(ConfigurationError, match="no such driver"):
        registry.get("broken")
    with pytest.raises(ConfigurationError, match="no licence"):
        registry.get("leaves")
    with pytest.raises(ConfigurationError, match="calls itself 'other'"):
        registry.get("named")


def test_a_plugin_that_cannot_be_loaded_is_tried_once_a_minute() -> None:
    """Whoever asks meanwhile has the same answer; when it can be loaded, it is."""
    tries, clock = [ImportError("first"), ImportError("second")], [100.0]

    def becomes_whole() -> Workload:
        if tries:
            raise tries.pop(0)
        return made(Closing("late", []))()

    registry = WorkloadRegistry({"late": becomes_whole}, now=lambda: clock[0])
    for seconds, why in ((0, "first"), (59, "first"), (1, "second")):
        clock[0] += seconds
        with pytest.raises(ConfigurationError, match=why):
            registry.get("late")
    clock[0] += LOAD_AGAIN_SECONDS
    assert registry.get("late").name == "late"


async def test_every_used_workload_is_closed() -> None:
    """Also when another one fails to close; one that was never used is never made."""
    closed: list[str] = []
    registry = WorkloadRegistry(
        {
            "a": made(Closing("a", closed, ValueError("stuck"))),
            "c": made(Closing("c", closed, SystemExit(3))),
            "b": made(Closing("b", closed)),
            "unused": made(Closing("unused", closed)),
        }
    )
    for name in ("a", "b", "c"):
        registry.get(name)
    with pytest.raises(BaseExceptionGroup, match="could not be closed"):
        await registry.close()
    assert sorted(closed) == ["a", "b", "c"]
    await registry.close()
