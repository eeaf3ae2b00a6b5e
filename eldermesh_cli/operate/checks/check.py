"""One check of `mesh doctor`: what it found, and what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from eldermesh_cli.answers.jobs import Check

CHECK_SECONDS = 30.0
"""Longest that one check takes."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a check that did not fail found; with a hint it is a warning."""

    detail: str
    hint: str | None = None


class CheckFailed(Exception):
    """A check found something that keeps the mesh from working; the hint says what to do."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


Look = Callable[[], Awaitable[Found]]


async def run_checks(looks: Sequence[tuple[str, Look]]) -> list[Check]:
    """Run checks at once and answer in their order; whatever one of them raises makes it fail."""
    return list(await asyncio.gather(*(_run(name, look) for name, look in looks)))


async def _run(name: str, look: Look) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            found = await look()
    except CheckFailed as error:
        return Check(name=name, status="fail", detail=error.detail, hint=error.hint)
    except TimeoutError:
        return Check(
            name=name,
            status="fail",
            detail=f"no answer within {CHECK_SECONDS:g} s",
            hint="is the machine overloaded, or the network cut?",
        )
    except Exception as error:  # noqa: BLE001 - a doctor reports whatever it meets and goes on to the next check
        return Check(name=name, status="fail", detail=repr(error), hint="this was not foreseen; see the detail")
    return Check(name=name, status="ok" if found.hint is None else "warn", detail=found.detail, hint=found.hint)
