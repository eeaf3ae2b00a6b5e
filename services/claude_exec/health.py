"""Whether prompts of `claude.requests` would be run; `python -m services.claude_exec.health` is a container's check.

Exit status 0 if so; else 1, and one line that says what is wrong.
"""

from __future__ import annotations

import sys

from services.claude_exec.requests.groups import ADMISSION_GROUP, OWNER_GROUP
from shared.health import check_health
from shared.history.readiness import unowned_partitions, unsettled_groups
from shared.kafka.producer_health import producing_trouble
from shared.kafka.topics import CLAUDE_HISTORY
from shared.settings import Settings


async def requests_trouble(settings: Settings) -> str | None:
    """Why requests would not go on: a partition of their history without an owner, or an inbox that nobody reads."""
    stuck = await producing_trouble(settings, "claude_exec") or await unowned_partitions(
        settings, CLAUDE_HISTORY, OWNER_GROUP
    )
    return stuck or await unsettled_groups(settings, [ADMISSION_GROUP])


def main() -> int:
    """Check it."""
    return check_health(requests_trouble)


if __name__ == "__main__":
    sys.exit(main())
