"""The consumer groups of the service, without the environment's prefix."""

from __future__ import annotations

OWNER_GROUP = "eldermesh.notifier"
ENDS_GROUP = "eldermesh.notifier.ends"
HOLDS_GROUP = "eldermesh.notifier.holds"
