"""A change of shipped code that tests must catch, and the directed run that catches it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.property.running import Scenario


@dataclass(frozen=True, slots=True)
class Mutation:
    """One mutation.

    Attributes:
        name: what the rules call it.
        apply: changes the shipped code; its docstring says how.
        scenario: what passes without it and breaks with it; its docstring says what happens there.
        breaks: part of the message of the broken promise.
    """

    name: str
    apply: Callable[[pytest.MonkeyPatch], None]
    scenario: Scenario
    breaks: str

    def row(self) -> str:
        """Its line of the list in the docs."""
        change = (inspect.getdoc(self.apply) or "").removesuffix(".")
        run = getattr(self.scenario, "__name__", "")
        return f"- {change}: `{run}`"
