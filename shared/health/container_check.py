"""A container's health check: what is wrong in one line, and an exit status."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from shared.errors import ConfigurationError
from shared.settings import Settings

CHECK_SECONDS = 20.0
"""Longest that a check takes."""

Trouble = Callable[[Settings], Awaitable[str | None]]
"""Says what is wrong, if anything is."""


def check_health(*troubles: Trouble) -> int:
    """The exit status: 0; or 1, once standard error has a line that says what is wrong.

    Args:
        troubles: are asked in turn, under the settings of the environment, until one says what is wrong.
    """
    found = asyncio.run(_found(troubles))
    if found is not None:
        sys.stderr.write(f"{found}\n")
    return 0 if found is None else 1


async def _found(troubles: tuple[Trouble, ...]) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            settings = Settings.of_environment()
            for trouble in troubles:
                if (found := await trouble(settings)) is not None:
                    return found
    except ConfigurationError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    return None
