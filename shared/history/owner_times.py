"""How long an owner waits for what, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OwnerTimes:
    """Seconds. `lease` is a claim's; `claim_timeout` the wait for one; `look` the time between looks at the claims."""

    lease: float
    claim_timeout: float
    look: float = 1.0
    sweep: float = 1.0
    forget: float = 60.0
