"""How many items of a job have ended, on standard error: a bar where somebody looks, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from eldermesh.cli.output import Output

_LINE_EVERY_SECONDS = 2.0


class ItemsBar:
    """Shows progress while it is entered; silent with `--json`.

    Args:
        output: says who looks.
        items_total: None while nobody has counted.
    """

    def __init__(self, output: Output, items_total: int | None) -> None:
        self._output = output
        self._total = items_total
        self._said_at = time.monotonic()
        self._progress: Progress | None = None
        if output.shows_progress and not output.as_json:
            self._progress = Progress(
                TextColumn("items"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task("items", total=items_total)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def move(self, items_ended: int) -> None:
        """So many items have ended."""
        if self._progress is not None:
            self._progress.update(self._task, completed=items_ended)
            return
        now = time.monotonic()
        if now - self._said_at >= _LINE_EVERY_SECONDS:
            self._said_at = now
            total = "?" if self._total is None else self._total
            self._output.note(f"{items_ended} of {total} items have ended")
