"""Search over passages, in memory; and how often it finds what it should."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from services.sages import passage_index
from services.sages.passage_index import put, search
from services.sages.passages import cut
from services.sages.rag import fitting
from shared.documents import Document
from tests.stdlib_docstrings import docstring_index, recall

PAGES = {
    "handbook/deploy.md": "# Deploy\nRoll the release out with the canary switch, then watch the error rate.\n",
    "handbook/rollback.md": "# Rollback\nTurn the canary switch off; the previous release takes over.\n",
    "handbook/lunch.md": "# Lunch\nThe canteen opens at noon.\n",
}


@pytest.fixture
def index() -> Iterator[sqlite3.Connection]:
    """The pages of a handbook."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(passage_index.SCHEMA_SQL)
    for number, (path, text) in enumerate(PAGES.items()):
        put(connection, path, _document(path, text, indexed_at=number))
    yield connection
    connection.close()


def _document(path: str, text: str, *, tenant: str | None = None, indexed_at: int = 0) -> Document:
    return Document(
        collection="c", path=path, content_hash="h", indexed_at=indexed_at, tenant=tenant, passages=cut(path, text)
    )


def _found(index: sqlite3.Connection, text: str, tenant: str = "default") -> list[str]:
    return [each.citation for each in search(index, [text], tenant, limit=5)]


def test_the_best_comes_first(index: sqlite3.Connection) -> None:
    """What has more of the words asked for; what has none is not there."""
    assert _found(index, "How do I watch the error rate while I roll out a release?") == ["handbook/deploy.md:1-2"]
    assert _found(index, "canary switch") == ["handbook/rollback.md:1-2", "handbook/deploy.md:1-2"]
    assert _found(index, "when does the canteen open") == ["handbook/lunch.md:1-2"]
    assert _found(index, "the of and") == _found(index, "quantum chromodynamics") == []


def test_one_shared_word_of_many_is_not_enough(index: sqlite3.Connection) -> None:
    """Else every long prompt would have its passages."""
    prompt = "Sort these fourteen invoices alphabetically, remove duplicates, then print a summary before noon arrives"
    assert _found(index, prompt) == []


def test_identifiers(index: sqlite3.Connection) -> None:
    """The parts of an identifier find it, whichever way it is written."""
    put(index, "src", _document("src/mail.py", "def sendWelcomeLetter(to):\n    return render_letter(to)\n"))
    assert _found(index, "where is the welcome letter rendered") == ["src/mail.py:1-2"]


def test_replaced_and_removed(index: sqlite3.Connection) -> None:
    """The last form of a document counts, and one that is removed is not found."""
    put(index, "handbook/lunch.md", _document("handbook/lunch.md", "The canteen is closed for repairs."))
    assert search(index, ["canteen"], "default", limit=5)[0].text == "The canteen is closed for repairs."
    assert _found(index, "opens at noon") == []
    put(index, "handbook/lunch.md", None)
    assert _found(index, "canteen") == []


def test_tenants(index: sqlite3.Connection) -> None:
    """A tenant's document is for its own jobs."""
    put(index, "secret", _document("plan.md", "# Plan\nThe merger closes in spring.", tenant="board"))
    assert _found(index, "merger in spring", "board") == ["plan.md:1-2"]
    assert _found(index, "merger in spring") == []


def test_the_oldest_are_forgotten(index: sqlite3.Connection) -> None:
    """Whole documents, until the bound holds."""
    passage_index.prune(index, 3)
    assert index.execute("SELECT count(*) FROM passages").fetchone() == (3,)
    passage_index.prune(index, 1)
    assert [row[0] for row in index.execute("SELECT path FROM passages")] == ["handbook/lunch.md"]


def test_as_many_as_fit(index: sqlite3.Connection) -> None:
    """The bound is in bytes of JSON."""
    found = search(index, ["canary switch release"], "default", limit=5)
    assert len(found) == 2
    assert len(fitting(found)) == 2
    assert len(fitting(found, 250)) == 1


def test_known_items_are_found() -> None:
    """Of the questions that the search was tuned on, and of the others. Measured: 16 and 10 of 20."""
    with closing(sqlite3.connect(":memory:")) as connection:
        docstring_index(connection)
        assert recall(connection, "tuned_on")[0] >= 12
        assert recall(connection, "reported_on")[0] >= 7
