"""What a verb prints: data on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO

import typer

from eldermesh_cli.program.errors import CliError, unavailable
from eldermesh_cli.terminal.safe_text import terminal_json, terminal_text

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

_PIPE_WIDTH = 240
"""Columns where no terminal says how many there are: nothing is cut in a pipe."""

SIGPIPE_STATUS = 141


@dataclass(frozen=True, slots=True)
class Output:
    """Where a verb's answer goes. With `as_json` standard error stays silent but for errors."""

    as_json: bool

    def answer(self, answer: BaseModel) -> None:
        """Print an answer as one line of JSON."""
        self._json_line(answer.model_dump_json())

    def json(self, value: Any) -> None:
        """Print a JSON value in one line."""
        self._json_line(json.dumps(value, ensure_ascii=False, separators=(",", ":")))

    def show(self, *parts: RenderableType) -> None:
        """Print for people: text, tables."""
        rendered = StringIO()
        console = _stdout_console(rendered)
        for part in parts:
            console.print(part)
        text = rendered.getvalue()
        if not _is_terminal(sys.stdout):
            text = re.sub(r" +$", "", text, flags=re.MULTILINE)  # rich fills each line of a table
        self._emit(text.encode("utf-8", "replace"))

    def write(self, text: str) -> None:
        """Print text: as it is, but on a terminal without what would give it orders."""
        self._emit((terminal_text(text) if _is_terminal(sys.stdout) else text).encode("utf-8", "replace"))

    def write_bytes(self, raw: bytes) -> None:
        """Print bytes as they are; a terminal gets them as text."""
        if _is_terminal(sys.stdout):
            self.write(raw.decode("utf-8", "replace"))
        else:
            self._emit(raw)

    def _json_line(self, line: str) -> None:
        self._emit(f"{terminal_json(line) if _is_terminal(sys.stdout) else line}\n".encode("utf-8", "replace"))

    @staticmethod
    def _emit(raw: bytes) -> None:
        """Write at once; after a broken pipe nothing more is written."""
        if sys.stdout is None:
            raise _takes_nothing("it is closed")
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(raw)
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            _turn_away_stdout()
            raise typer.Exit(SIGPIPE_STATUS) from error
        except OSError as error:
            _turn_away_stdout()
            raise _takes_nothing(error.strerror) from error

    def note(self, text: str) -> None:
        """Tell a person what goes on, on standard error."""
        if not self.as_json:
            write_error(text)

    @property
    def shows_progress(self) -> bool:
        """Whether standard error is a terminal, where a progress bar makes sense."""
        return _is_terminal(sys.stderr)


def _takes_nothing(why: str | None) -> CliError:
    return unavailable(f"standard output takes nothing: {why}", "what was asked for may have been done all the same")


def write_error(text: str) -> None:
    """Write a line to standard error; if that is closed, the line is lost."""
    if sys.stderr is None:  # `print` would take standard output for it
        return
    with contextlib.suppress(OSError):
        shown = terminal_text(text) if _is_terminal(sys.stderr) else text
        print(shown, file=sys.stderr, flush=True)  # noqa: T201 - this is the place that prints


def _stdout_console(rendered: StringIO) -> Console:
    """A console as wide as the terminal; wide enough for anything where there is none."""
    if _is_terminal(sys.stdout):
        from eldermesh_cli.terminal.console import TerminalConsole

        return TerminalConsole(file=rendered, force_terminal=True, highlight=False, markup=False, emoji=False)
    from rich.console import Console

    return Console(file=rendered, width=_PIPE_WIDTH, highlight=False, markup=False, emoji=False)


def stderr_console() -> Console:
    """A console on standard error."""
    if _is_terminal(sys.stderr):
        from eldermesh_cli.terminal.console import TerminalConsole

        return TerminalConsole(stderr=True, highlight=False)
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _turn_away_stdout() -> None:
    """Redirect to /dev/null: else the interpreter flushes once more at exit, and complains."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
