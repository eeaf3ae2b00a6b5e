"""The consumer groups of the router. One for each topic: members that read different topics make each other rejoin."""

from __future__ import annotations

from collections.abc import Mapping

from shared.kafka.topics import JOBS, JOBS_DECISIONS

OWNER_GROUP = "eldermesh.router"
ADMISSION_GROUPS: Mapping[str, str] = {JOBS: "eldermesh.admission", JOBS_DECISIONS: "eldermesh.admission.decisions"}
"""Group by inbox, both without prefix."""
