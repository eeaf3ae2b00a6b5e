"""Whether people would be told; `python -m services.notifier.health` is a container's check.

Exit status 0 if so; else 1, and one line that says what is wrong.
"""

from __future__ import annotations

import sys

from services.notifier.groups import ENDS_GROUP, HOLDS_GROUP, OWNER_GROUP
from shared.health import check_health
from shared.history.readiness import unowned_partitions, unsettled_groups
from shared.kafka.producer_health import producing_trouble
from shared.kafka.topics import NOTIFICATIONS
from shared.settings import Settings


async def notifier_trouble(settings: Settings) -> str | None:
    """Why messages would not go out: a partition of their history without an owner, or events that nobody reads."""
    stuck = await producing_trouble(settings, "notifier") or await unowned_partitions(
        settings, NOTIFICATIONS, OWNER_GROUP
    )
    return stuck or await unsettled_groups(settings, [ENDS_GROUP, HOLDS_GROUP])


def main() -> int:
    """Check it."""
    return check_health(notifier_trouble)


if __name__ == "__main__":
    sys.exit(main())
