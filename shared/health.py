"""A container's health check: what is wrong in one line, and an exit status."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from shared.errors import ConfigurationError
from shared.settings import Settings

CHECK_SECONDS = 20.0
"""Longest that a check takes."""


def check_health(trouble: Callable[[Settings], Awaitable[str | None]]) -> int:
    """The exit status: 0; or 1, once standard error has a line that says what is wrong.

    Args:
        trouble: says what is wrong, if anything is, under the settings of the environment.
    """
    found = asyncio.run(_found(trouble))
    if found is not None:
        sys.stderr.write(f"{found}\n")
    return 0 if found is None else 1


async def _found(trouble: Callable[[Settings], Awaitable[str | None]]) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await trouble(Settings.of_environment())
    except ConfigurationError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
