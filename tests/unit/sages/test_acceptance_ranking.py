"""The order in which the panel advises: as jobs are ranked elsewhere, and nothing that it is given stops it."""

from __future__ import annotations

import orjson
import pytest

from services.sages.panel.ranking import AcceptanceRanking
from shared.history.owner_parts import Rank
from shared.priorities import PRIORITIES
from tests.unit.consumer.records import consumed
from tests.unit.jobs.story import accepted

RANKING = AcceptanceRanking(lambda tenant: 2.0 if tenant == "heavy" else 1.0)


def test_an_acceptance_has_the_rank_of_its_job() -> None:
    """And one that wants no advice comes first: it is only looked at."""
    urgent = accepted(tenant="heavy", priority="interactive", advise_within_ms=2000)
    assert RANKING(consumed(urgent.encode()), 7) == Rank(PRIORITIES["interactive"], 7, "heavy", 2.0)
    batch = accepted(tenant="light", priority="batch", advise_within_ms=2000)
    assert RANKING(consumed(batch.encode()), 8) == Rank(PRIORITIES["batch"], 8, "light", 1.0)
    unasked = accepted(tenant="light", priority="batch")
    assert RANKING(consumed(unasked.encode()), 9).priority == PRIORITIES["interactive"]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"terms": 1}',
        b'{"terms": {"tenant": "a", "priority": [], "advise_within_ms": 1}}',
        b'{"terms": {"tenant": "a", "priority": "soon", "advise_within_ms": 1}}',
        b'{"terms": {"tenant": "a", "priority": "batch", "advise_within_ms": "1"}}',
        b"[" * 100_000,
        orjson.dumps({"terms": None}),
    ],
)
def test_what_cannot_be_read_comes_last(value: bytes) -> None:
    """Whoever handles it says what is wrong with it."""
    assert RANKING(consumed(value), 3) == Rank(PRIORITIES["batch"], 3)
