"""Names of the public topics (each takes the environment's prefix in front)."""

from __future__ import annotations

JOBS = "jobs"
JOBS_DECISIONS = "jobs.decisions"
JOBS_PROGRESS = "jobs.progress"
JOBS_DONE = "jobs.done"
JOBS_HOLDS = "jobs.holds"
JOBS_DEAD = "jobs.dead"
CLAUDE_REQUESTS = "claude.requests"
CLAUDE_OUTPUT = "claude.output"
