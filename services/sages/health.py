"""Whether the sages would be asked about a job; `python -m services.sages.health` is a container's check.

Exit status 0 if so; else 1, and one line that says what is wrong.
"""

from __future__ import annotations

import sys

from services.sages.groups import PANEL_GROUP
from shared.health import check_health
from shared.history.readiness import unsettled_groups
from shared.kafka.producer_health import producing_trouble
from shared.settings import Settings


async def sages_trouble(settings: Settings) -> str | None:
    """Why nobody would ask them: the panel's group has not settled. Sages that are warming are no trouble."""
    return await producing_trouble(settings, "sages") or await unsettled_groups(settings, [PANEL_GROUP])


def main() -> int:
    """Check it."""
    return check_health(sages_trouble)


if __name__ == "__main__":
    sys.exit(main())
