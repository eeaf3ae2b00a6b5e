"""The priorities of jobs as numbers, on all ways where jobs wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PRIORITIES: Final[Mapping[str, int]] = {"interactive": 0, "normal": 3, "batch": 6}
"""0 is the highest, as of Celery on Redis. What goes ahead of others of its kind (`DispatchDue`) has one less."""
