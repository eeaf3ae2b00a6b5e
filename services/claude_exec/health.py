"""Whether prompts of `claude.requests` would be run; `python -m services.claude_exec.health` is a container's check.

Exit status 0 if so; else 1, and one line that says what is wrong.
"""

from __future__ import annotations

import asyncio
import sys

from services.claude_exec.requests.groups import ADMISSION_GROUP, OWNER_GROUP
from shared.errors import ConfigurationError
from shared.history.readiness import unowned_partitions, unsettled_groups
from shared.kafka.producing import producing_trouble
from shared.settings import Settings
from shared.topics import CLAUDE_HISTORY

CHECK_SECONDS = 20.0
"""Longest that a check takes."""


async def requests_trouble(settings: Settings) -> str | None:
    """Why requests would not go on: a partition of their history without an owner, or an inbox that nobody reads."""
    stuck = await producing_trouble(settings, "claude_exec") or await unowned_partitions(
        settings, CLAUDE_HISTORY, OWNER_GROUP
    )
    return stuck or await unsettled_groups(settings, [ADMISSION_GROUP])


async def _check() -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await requests_trouble(Settings.of_environment())
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
