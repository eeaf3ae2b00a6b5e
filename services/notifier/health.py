"""Whether people would be told; `python -m services.notifier.health` is a container's check.

Exit status 0 if so; else 1, and one line that says what is wrong.
"""

from __future__ import annotations

import asyncio
import sys

from services.notifier.groups import ENDS_GROUP, HOLDS_GROUP, OWNER_GROUP
from shared.errors import ConfigurationError
from shared.history.readiness import unowned_partitions, unsettled_groups
from shared.kafka.producing import producing_trouble
from shared.settings import Settings
from shared.topics import NOTIFICATIONS

CHECK_SECONDS = 20.0
"""Longest that a check takes."""


async def notifier_trouble(settings: Settings) -> str | None:
    """Why messages would not go out: a partition of their history without an owner, or events that nobody reads."""
    stuck = await producing_trouble(settings, "notifier") or await unowned_partitions(
        settings, NOTIFICATIONS, OWNER_GROUP
    )
    return stuck or await unsettled_groups(settings, [ENDS_GROUP, HOLDS_GROUP])


async def _check() -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await notifier_trouble(Settings.of_environment())
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
