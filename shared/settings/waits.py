"""Waits: how long jobs wait for sages, for people and for a quota."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat


class WaitSettings(BaseModel):
    """Advice, holds and pauses."""

    advise_seconds: NonNegativeFloat = Field(
        2.0, description="Longest a job waits for the panel's advice; 0 where no sages run."
    )
    sage_seconds: PositiveFloat = Field(0.25, description="What each sage gets to answer.")
    incident_missing: Literal["auto", "hold", "allow"] = Field(
        "auto", description="What follows where incident says nothing: `auto` holds jobs whose tools can write."
    )
    hold_seconds: PositiveFloat = Field(86400.0, description="A hold that nobody decides on for so long is denied.")
    hold_reminder_seconds: PositiveFloat = Field(3600.0, description="A hold is announced again after so long.")
    pause_seconds: PositiveFloat = Field(
        30.0, description="First pause of a job when nobody says how long a quota is used up; doubled each time."
    )
    pause_longest_seconds: PositiveFloat = Field(3600.0, description="Longest of these pauses.")
