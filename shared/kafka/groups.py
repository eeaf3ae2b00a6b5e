"""The consumer groups of the mesh, without the environment's prefix.

One for each topic: members that read different topics make each other rejoin.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.kafka.topics import JOBS, JOBS_DECISIONS

ROUTER_OWNERS = "eldermesh.router"
ROUTER_INBOXES: Mapping[str, str] = {JOBS: "eldermesh.admission", JOBS_DECISIONS: "eldermesh.admission.decisions"}
"""Group by inbox, both without prefix."""

CLAUDE_OWNERS = "eldermesh.claude_exec"
CLAUDE_INBOX = "eldermesh.claude_exec.admission"

NOTIFIER_OWNERS = "eldermesh.notifier"
NOTIFIER_ENDS = "eldermesh.notifier.ends"
NOTIFIER_HOLDS = "eldermesh.notifier.holds"

SAGES_PANEL = "eldermesh.sages"
"""Its members share the jobs that want advice."""
