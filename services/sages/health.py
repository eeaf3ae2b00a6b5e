"""Whether the sages would be asked about a job; `python -m services.sages.health` is a container's check.

Exit status 0 if so; else 1, and one line that says what is wrong.
"""

from __future__ import annotations

import asyncio
import sys

from services.sages.groups import PANEL_GROUP
from shared.errors import ConfigurationError
from shared.history.readiness import unsettled_groups
from shared.kafka.producing import producing_trouble
from shared.settings import Settings

CHECK_SECONDS = 20.0
"""Longest that a check takes."""


async def sages_trouble(settings: Settings) -> str | None:
    """Why nobody would ask them: the panel's group has not settled. Sages that are warming are no trouble."""
    return await producing_trouble(settings, "sages") or await unsettled_groups(settings, [PANEL_GROUP])


async def _check() -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await sages_trouble(Settings.of_environment())
    except ConfigurationError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"


def main() -> int:
    """Check it."""
    trouble = asyncio.run(_check())
    if trouble is not None:
        sys.stderr.write(f"{trouble}\n")
    return 0 if trouble is None else 1


if __name__ == "__main__":
    sys.exit(main())
