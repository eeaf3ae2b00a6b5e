"""Progress on standard error: a bar on a terminal, else a line every two seconds."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from eldermesh_cli.terminal.output import Output, stderr_console

_LINE_EVERY_SECONDS = 2.0


class ItemsBar:
    """Shows progress while it is entered; silent with `--json`.

    Args:
        output: where notes go.
        items_total: None while nobody has counted.
        unit: what is counted.
        done: what is said of those that are done.
    """

    def __init__(
        self, output: Output, items_total: int | None, *, unit: str = "items", done: str = "items have ended"
    ) -> None:
        self._output = output
        self._total = items_total
        self._done = done
        self._said_at = time.monotonic()
        self._progress: Progress | None = None
        if output.shows_progress and not output.as_json:
            self._progress = Progress(
                TextColumn(unit),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=stderr_console(),
                transient=True,
            )
            self._task = self._progress.add_task(unit, total=items_total)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, text: str) -> None:
        """A line for people, above the bar where there is one."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            self._output.note(text)

    def move_to(self, items_ended: int, items_total: int) -> None:
        """So many have ended, of how many is known only now."""
        self._total = items_total
        if self._progress is not None:
            self._progress.update(self._task, total=items_total)
        self.move(items_ended)

    def move(self, items_ended: int) -> None:
        """So many items have ended."""
        if self._progress is not None:
            self._progress.update(self._task, completed=items_ended)
            return
        now = time.monotonic()
        if now - self._said_at >= _LINE_EVERY_SECONDS:
            self._said_at = now
            total = "?" if self._total is None else self._total
            self._output.note(f"{items_ended} of {total} {self._done}")
