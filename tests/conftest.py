"""What all tests share. Fixtures that only some need are in the conftest of their directory."""

import signal

pytest_plugins = ["pytester", "tests.required_servers", "tests.brokers", "tests.mesh", "tests.leaks"]


def pytest_configure() -> None:
    """Let Ctrl-C mean what it means at a terminal: a shell that starts the tests in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
