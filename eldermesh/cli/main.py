"""The entry point `mesh`: gathers the verbs, and turns every error into an exit status and a message."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Sequence

import typer
from typer.exceptions import Abort, TyperException
from typer.main import get_command

from eldermesh.cli.errors import CliError, ExitStatus
from eldermesh.cli.verb_group import VerbGroup

_HELP = "Submit jobs to an ElderMesh, follow them, and ask what became of them."


def make_app() -> typer.Typer:
    """The command with all its verbs."""
    app = typer.Typer(
        name="mesh",
        cls=VerbGroup,
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    return app


def _root() -> None:
    """Submit jobs to an ElderMesh, follow them, and ask what became of them."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line, without the name of the program, and return its exit status."""
    # Libraries log what the verbs report in their own words; without a handler Python prints it in between.
    logging.getLogger().addHandler(logging.NullHandler())
    as_json = "--json" in _before_separator(arguments)
    try:
        status = get_command(make_app()).main(args=list(arguments), prog_name="mesh", standalone_mode=False)
    except CliError as error:
        if error.hint is None and error.status is ExitStatus.USAGE:
            error.hint = f"`mesh {arguments[0]} --help` shows how"
        _report(error, as_json=as_json)
        return error.status
    except TyperException as error:
        return _usage(error, as_json=as_json)
    except (Abort, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, it is told and has a status
        _report(_bug(error), as_json=as_json)
        return ExitStatus.BUG
    return int(status) if isinstance(status, int) else ExitStatus.OK


def _before_separator(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _usage(error: TyperException, *, as_json: bool) -> int:
    """Report what the parser of the command line refused; a bare `mesh` gets the help."""
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
        print(message, file=sys.stderr)  # noqa: T201 - the text of the help
        return error.exit_code
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mesh"
    _report(CliError(ExitStatus.USAGE, "usage", message, f"`{command} --help` shows how"), as_json=as_json)
    return error.exit_code


def _bug(error: Exception) -> CliError:
    origin = traceback.extract_tb(error.__traceback__)[-1]
    return CliError(
        ExitStatus.BUG,
        "internal",
        f"unexpected {type(error).__name__}: {error} ({origin.name}, line {origin.lineno} of {origin.filename})",
        "this is an error of mesh itself: report it with this message",
    )


def _report(error: CliError, *, as_json: bool) -> None:
    if as_json:
        content = {"error_type": error.error_type, "message": error.message, "hint": error.hint}
        text = json.dumps({"error": content}, ensure_ascii=False)
    else:
        text = f"Error: {error.message}" + (f"\nHint: {error.hint}" if error.hint else "")
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - errors go to standard error


def main() -> None:
    """Run the command line of this process and exit with its status."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
