"""A console of rich on a terminal, on which no text from outside gives orders, wherever in a table it stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from eldermesh_cli.terminal.safe_text import terminal_text


class TerminalConsole(Console):
    """Styles are the console's own; what they are applied to is not trusted."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A text, measured as it will be shown."""
        return super().render_str(terminal_text(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of anything that can be shown; texts that came with styles of their own are made safe here."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(terminal_text(segment.text), segment.style)
