"""What the demo shows: chapters, command lines, tables, and checks that have to hold."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 120
"""Columns where no terminal says how many there are."""


class Screen:
    """Standard output, and the checks that failed on the way."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
        self.checks = 0
        self.failed: list[str] = []

    def title(self, title: str, text: str) -> None:
        """Say what this is."""
        self.console.print(Panel(text, title=title, title_align="left", padding=(0, 1)))

    def chapter(self, number: int, title: str) -> None:
        """Begin a chapter."""
        self.console.print()
        self.console.rule(f"[bold]{number}. {title}", align="left", style="dim")

    def say(self, text: str, *, wrap: bool = True) -> None:
        """Explain; what somebody may want to copy is not wrapped."""
        self.console.print(text, soft_wrap=not wrap)

    def command(self, line: str) -> None:
        """Show a command line that is run next."""
        self.console.print(Text.assemble(("$ ", "dim"), (line, "bold cyan")), soft_wrap=True)
        self.flush()

    def record(self, value: str) -> None:
        """Show a record's JSON."""
        self.console.print(Padding(JSONHighlighter()(Text(value)), (0, 2)))

    def raw(self, value: str) -> None:
        """Show bytes that are no JSON."""
        self.console.print(Padding(Text(value, style="yellow"), (0, 2)))

    def check(self, claim: str, *, holds: bool, found: object = None) -> None:
        """Show whether what was expected holds; `found` is what there was instead."""
        self.checks += 1
        if holds:
            self.console.print(Text.assemble(("✓ ", "green"), claim))
            return
        told = claim if found is None else f"{claim}: found {found}"
        self.failed.append(told)
        self.console.print(Text.assemble(("✗ ", "bold red"), (told, "red")))

    def table(self, title: str | None, names: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        """Show a table; what is a number stands on the right."""
        table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
        content = [list(row) for row in rows]
        for number, name in enumerate(names):
            numbers = all(isinstance(row[number], int | float) for row in content)
            table.add_column(name, justify="right" if numbers else "left", overflow="fold")
        for row in content:
            table.add_row(*("" if cell is None else str(cell) for cell in row))
        self.console.print(table)

    def progress(self) -> Progress:
        """A bar; where nobody looks, the last state of it."""
        return Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
        )

    def flush(self) -> None:
        """Let a child process that writes to the same place come after what was written so far."""
        self.console.file.flush()
