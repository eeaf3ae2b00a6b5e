"""How often the sage rag finds the documentation string that answers a question: recall@5 over the standard library.

The index was tuned on the first half of the questions; the second half was only counted.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from bench.report import Figure
from tests.stdlib_docstrings import docstring_index, known_items, recall

_NO_BROKER = "none"
_MS = 1000


def measure_retrieval() -> list[Figure]:
    """Recall@5 of both halves, and what a search takes, in this process."""
    with closing(sqlite3.connect(":memory:")) as connection:
        docstring_index(connection)
        return _measure(connection)


def _measure(connection: sqlite3.Connection) -> list[Figure]:
    (passages,) = connection.execute("SELECT count(*) FROM passages").fetchone()
    figures = []
    for half, said in (("tuned_on", "tuned on"), ("reported_on", "reported on")):
        found, asked, _ = recall(connection, half)
        name = f"recall@5 of {asked} questions, {said} ({passages:,} passages)"
        figures.append(Figure(name, _NO_BROKER, 100 * found / asked, "%"))
    began = time.perf_counter()
    for half in known_items():
        recall(connection, half)
    count = sum(map(len, known_items().values()))
    figures.append(Figure("  one search", _NO_BROKER, _MS * (time.perf_counter() - began) / count, "ms"))
    return figures
