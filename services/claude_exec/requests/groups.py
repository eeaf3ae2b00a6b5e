"""The consumer groups of the service, without the environment's prefix."""

from __future__ import annotations

OWNER_GROUP = "eldermesh.claude_exec"
ADMISSION_GROUP = "eldermesh.claude_exec.admission"
