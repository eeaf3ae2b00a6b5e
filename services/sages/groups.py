"""The consumer group of the panel, without the environment's prefix: among its members the questions are shared out."""

from __future__ import annotations

PANEL_GROUP = "eldermesh.sages"
