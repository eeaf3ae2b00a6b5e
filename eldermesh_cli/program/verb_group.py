"""The group of all verbs: imports the one that runs, none for the help."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from eldermesh_cli.program.verb_table import VERBS, Verb

_BY_NAME = {verb.name: verb for verb in VERBS}


class VerbGroup(TyperGroup):
    """The verbs of the table."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._only_lines = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the table is the same in every context
        """The names, in the order of the help."""
        return list(_BY_NAME)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the same
        """A verb; for the help of the group only its line."""
        verb = _BY_NAME.get(cmd_name)
        if verb is None:
            return None
        return _line_of(verb) if self._only_lines else load_verb(verb)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help from the lines of the table."""
        self._only_lines = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._only_lines = False


def load_verb(verb: Verb) -> Any:
    """The command of a verb, its module imported."""
    app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
    app.add_typer(import_module(verb.module).app)
    command: Any = get_group(app).commands[verb.name]
    command.rich_help_panel = verb.panel
    return command


def _line_of(verb: Verb) -> TyperCommand:
    return TyperCommand(verb.name, help=verb.summary, rich_help_panel=verb.panel, rich_markup_mode="rich")
