"""Notifications: who is told what, and how often a channel is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, PositiveFloat


class NotifierSettings(BaseModel):
    """Rules and attempts."""

    notify_rules: Path | None = Field(None, description="File (YAML) of the notifier's channels and rules.")
    notify_allow_private: bool = Field(
        default=False,
        description="Let webhooks reach addresses that are not public, and use `http://`: for networks inside.",
    )
    notify_max_age_seconds: PositiveFloat = Field(
        86400.0, description="News older than this is told to nobody: not begun, and not tried again."
    )
    notify_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="Attempts after which a message is given up, and becomes a dead letter."
    )
    notify_retry_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        5.0, description="Longest pause before the first retry of a message; doubled each time, to an hour."
    )
