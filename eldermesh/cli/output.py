"""What a verb prints: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

_PIPE_WIDTH = 240
"""Columns where no terminal says how many there are: nothing is cut in a pipe."""

_SIGPIPE_STATUS = 141


@dataclass(frozen=True, slots=True)
class Output:
    """Where a verb's answer goes. With `as_json` standard error stays silent but for errors."""

    as_json: bool

    def answer(self, answer: BaseModel) -> None:
        """Print an answer as one line of JSON."""
        self.write(answer.model_dump_json() + "\n")

    def json(self, value: Any) -> None:
        """Print a JSON value in one line."""
        self.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")

    def show(self, *parts: RenderableType) -> None:
        """Print for people: text, tables."""
        console = stdout_console()
        with console.capture() as capture:
            for part in parts:
                console.print(part)
        self.write(capture.get())

    def write(self, text: str) -> None:
        """Print text as it is; who closed the pipe is not written to again."""
        self.write_bytes(text.encode("utf-8", "replace"))

    def write_bytes(self, raw: bytes) -> None:
        """Print bytes as they are."""
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(raw)
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            # Else the interpreter tries once more at its end, and complains.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_SIGPIPE_STATUS) from error

    def note(self, text: str) -> None:
        """Tell a person what goes on, on standard error."""
        if not self.as_json:
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the place that prints

    @property
    def shows_progress(self) -> bool:
        """Whether somebody looks at standard error, so that a bar may move there."""
        return sys.stderr.isatty()


def stdout_console() -> Console:
    """A console on standard output, as wide as the terminal; wide enough for anything where there is none."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def pairs_table(pairs: Iterable[tuple[str, object]]) -> RenderableType:
    """Names and values below each other; what is None is left out."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            table.add_row(name, str(value))
    return table


def columns_table(names: Iterable[str], rows: Iterable[Iterable[object]]) -> RenderableType:
    """Rows under names; None prints as nothing."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    return table
