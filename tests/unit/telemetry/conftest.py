"""Telemetry of the test process that exports nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.settings import Settings
from shared.telemetry.setup import Telemetry, configure_telemetry


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Configured without an endpoint."""
    configured = configure_telemetry(Settings(otlp_endpoint=None), "tests")
    yield configured
    configured.shutdown()
