"""What all tests share. Fixtures that only some need are in the conftest of their directory."""

import gc
import signal

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "pytester",
    "tests.required_servers",
    "tests.brokers",
    "tests.ray_head",
    "tests.leaks",
    "tests.slow_first",
    "tests.thorough",
    "tests.coverage_files",
    "tests.configured_logging",
]


def pytest_configure(config: pytest.Config) -> None:
    """Let the keys that interrupt and quit do so: for what a shell starts in the background they are ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # Thousands of tests are collected, and none of them is garbage: looking for some takes a quarter of the time.
    if not getattr(config.option, "numprocesses", None):  # None: this process runs tests; else it hands them out
        gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage again, but not among the tests."""
    gc.freeze()
    gc.enable()


# A busy machine is slow at any example; nothing is told of the code by that.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
