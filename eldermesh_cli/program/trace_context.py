"""The command's own place in a trace: below `TRACEPARENT` of the environment, exported where the settings say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry.context import attach, detach

from shared.settings import Settings
from shared.telemetry.propagation import context_from

_FLUSH_SECONDS = 2.0
_SERVICE_NAME = "mesh"


@asynccontextmanager
async def traced(settings: Settings) -> AsyncIterator[None]:
    """Inside, spans are children of what the environment names (as a CI job does), and are exported on leaving.

    What cannot be exported within two seconds is dropped: a trace never delays an answer for long.
    """
    token = attach(context_from(os.environ.get("TRACEPARENT"), os.environ.get("TRACESTATE")))
    try:
        if settings.otlp_endpoint is None:
            yield
            return
        # Late: the exporters take a while to import.
        from shared.telemetry.setup import configure_telemetry, shutdown_telemetry

        # A verb is over too soon for metrics: each call would leave series of its own.
        configure_telemetry(settings.model_copy(update={"otlp_metrics": False}), _SERVICE_NAME)
        try:
            yield
        finally:
            await asyncio.to_thread(shutdown_telemetry, _FLUSH_SECONDS)
    finally:
        detach(token)
