"""Runs of chunks: what may run, how much at once, and when a run or an item is given up."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveFloat

from shared.route_rules import RouteRules
from shared.settings.comma_list import Words

DEMO_FUNCTIONS = "eldermesh_cli.demo.work:*"

_Count = Annotated[int, Field(ge=1)]


def _default_slots() -> int:
    return max(2, os.cpu_count() or 2)


class RunSettings(BaseModel):
    """Chunks on either engine, and jobs as a whole."""

    python_functions: Words = Field(
        ("math:*", DEMO_FUNCTIONS), description="Globs of functions that `python` jobs may call."
    )
    python_at_once: Annotated[int, Field(ge=1, le=1000)] = Field(
        100, description="Most calls of a coroutine function that run at a time in a chunk; a job asks by `at_once`."
    )
    slots: Annotated[int, Field(ge=1, le=4096)] = Field(
        default_factory=_default_slots, description="Chunks that run at once on the Celery engine."
    )
    policy: Literal["adaptive", "static"] = Field(
        "static",
        description="The engine is chosen by `MESH_RAY_THRESHOLD_ITEMS` (`static`), or by what such items took on each"
        " (`adaptive`).",
    )
    routes: RouteRules = Field(
        RouteRules(),
        description='What goes before the policy, and before what a submit asks for, by workload: `{"python":'
        ' {"engine": "celery", "chunk_items": 50}}`, or `{"python": {"weights": {"ray": 2}}}`, by which Ray is'
        " taken until it is predicted to take twice as long (with the policy `adaptive` alone).",
    )
    chunk_items: _Count | None = Field(None, description="Items a chunk, instead of what the policy chooses.")
    lease_seconds: PositiveFloat = Field(15.0, description="A claim's lease.")
    heartbeat_seconds: PositiveFloat = Field(5.0, description="Time between renewals of a claim.")
    claim_timeout_seconds: PositiveFloat = Field(
        60.0, description="A dispatched chunk without a claim for so long is sent again."
    )
    max_chunk_deaths: _Count = Field(2, description="Deaths after which a chunk is bisected.")
    max_item_deaths: _Count = Field(3, description="Deaths after which an item has crashed.")
    max_job_age_seconds: PositiveFloat = Field(7 * 86400.0, description="No job lives longer.")
    item_spans: _Count = Field(
        400,
        description="Most items of a job that have a span, and again of failed or slow ones; a chunk has one of both.",
    )
    flush_items: _Count = Field(500, description="Results a runner gathers before it publishes.")
    flush_seconds: PositiveFloat = Field(0.25, description="Longest time a result is gathered.")
    flush_longest_seconds: PositiveFloat = Field(
        1.0, description="The same where many results come; a job's first ones do not wait so long."
    )
    drain_seconds: PositiveFloat = Field(15.0, description="Longest a service takes to drain.")
