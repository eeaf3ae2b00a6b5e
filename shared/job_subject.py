"""What a job is about: jobs of one workload and one subject take about as long an item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

_MAX_CHARACTERS: Final = 200


def job_subject(options: Mapping[str, JsonValue]) -> str:
    """The function of a `python` job, the model of a `claude` job, else empty."""
    for name in ("function", "model"):
        value = options.get(name)
        if isinstance(value, str):
            return value[:_MAX_CHARACTERS]
    return ""
