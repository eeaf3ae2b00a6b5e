"""What the tests of faults share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def children_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage costs a child half as much CPU again, and what is killed writes none.

    Other tests take the same paths; these are about kills and times.
    """
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
