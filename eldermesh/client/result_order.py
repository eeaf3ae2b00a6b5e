"""The results of a job in the order of its items, however many there are: what is ahead waits in a temporary file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, closing

from eldermesh.client.errors import TemporaryFileError
from eldermesh.contract.results import ItemResult, JobProgress

_TEMPORARY_FILE = ""
"""SQLite's own: it is written once its cache of 2 MiB is full, and gone when it is closed."""

_TABLE = "CREATE TABLE ahead (stage INTEGER, item INTEGER, result TEXT NOT NULL, PRIMARY KEY (stage, item))"


class ResultOrder:
    """Puts results in ascending order of stage and item.

    A result in turn goes on at once. One that is ahead waits until those before it are there, or, since items of a job
    that failed may have none, for the end. The first result of an item counts.

    Args:
        ahead: where results wait, an empty database.
    """

    def __init__(self, ahead: sqlite3.Connection) -> None:
        ahead.execute(_TABLE)
        self._ahead = ahead
        self._waiting = 0
        self._stage = self._item = 0

    def add(self, progress: JobProgress) -> Iterator[ItemResult]:
        """Show a record, the next of its job; yields the results that are now in turn."""
        for result in progress.results:
            place = (progress.stage_index, result.item_index)
            if place == (self._stage, self._item):
                yield result
                self._item += 1
                yield from self._followers()
            elif place > (self._stage, self._item):
                row = (*place, result.model_dump_json())
                self._waiting += self._ahead.execute("INSERT OR IGNORE INTO ahead VALUES (?, ?, ?)", row).rowcount

    def rest(self) -> Iterator[ItemResult]:
        """What still waits, once all records have been shown."""
        for (text,) in self._ahead.execute("SELECT result FROM ahead ORDER BY stage, item"):
            yield ItemResult.model_validate_json(text)

    def _followers(self) -> Iterator[ItemResult]:
        while self._waiting:
            row = self._ahead.execute(
                "DELETE FROM ahead WHERE stage = ? AND item = ? RETURNING result", (self._stage, self._item)
            ).fetchone()
            if row is None:
                return
            self._waiting -= 1
            yield ItemResult.model_validate_json(row[0])
            self._item += 1


async def in_order(records: AsyncGenerator[JobProgress, None]) -> AsyncGenerator[ItemResult, None]:
    """The results in a job's progress records, which come in order of `sequence`; `records` is closed at the end.

    Raises:
        TemporaryFileError: there is no room for what waits.
    """
    try:
        with closing(sqlite3.connect(_TEMPORARY_FILE, isolation_level=None)) as ahead:
            order = ResultOrder(ahead)
            async with aclosing(records):
                async for progress in records:
                    for result in order.add(progress):
                        yield result
            for result in order.rest():
                yield result
    except sqlite3.Error as error:
        raise TemporaryFileError(f"results ahead of their turn cannot be kept in a file: {error}") from error
