"""A command line: gathers the verbs, and turns every error into an exit status and a message."""

from __future__ import annotations

import errno
import json
import logging
import os
import traceback
from collections.abc import Sequence

import typer
from typer.exceptions import Abort, TyperException
from typer.main import get_command

from eldermesh_cli.program.errors import CliError, ExitStatus, unavailable, usage_error
from eldermesh_cli.program.unreadable_count import telling_what_is_passed_over
from eldermesh_cli.program.verb_group import VerbGroup
from eldermesh_cli.terminal.output import SIGPIPE_STATUS, write_error
from eldermesh_cli.terminal.safe_text import escaped_name, is_text, terminal_json

_RETYPE = "the terminal or script that gave it speaks another encoding, as Latin-1; nothing was done"
_MAX_COLUMNS = 10_000
_REFUSED_BY_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
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
        _require_text(arguments)
        _bound_width()
        with telling_what_is_passed_over(as_json=as_json):
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
    except BrokenPipeError:
        return SIGPIPE_STATUS
    except SystemExit as end:
        # What rich makes of a reader that has gone, where it writes the help.
        if isinstance(end.__context__, BrokenPipeError):
            return SIGPIPE_STATUS
        raise
    except OSError as error:
        refused = error.errno in _REFUSED_BY_MACHINE
        _report(_refused(error) if refused else _bug(error), as_json=as_json)
        return ExitStatus.UNAVAILABLE if refused else ExitStatus.BUG
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, it is told and has a status
        _report(_bug(error), as_json=as_json)
        return ExitStatus.BUG
    return int(status) if isinstance(status, int) else ExitStatus.OK


def _require_text(arguments: Sequence[str]) -> None:
    """See that arguments and settings are text: bytes that are no UTF-8 fit into no record and no answer.

    Raises:
        CliError: one is not.
    """
    for argument in arguments:
        if not is_text(argument):
            raise usage_error(f"the argument {escaped_name(argument)} is not UTF-8", _RETYPE)
    for name, value in os.environ.items():
        if name.startswith("MESH_") and not is_text(name + value):
            raise usage_error(f"the variable {escaped_name(name)}={escaped_name(value)} is not UTF-8", _RETYPE)


def _bound_width() -> None:
    """Ignore a `COLUMNS` that no terminal has: lines would be padded to that width."""
    width = os.environ.get("COLUMNS", "")
    if not width.isdecimal() or not 0 < int(width[:9]) <= _MAX_COLUMNS:
        os.environ.pop("COLUMNS", None)


def _before_separator(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _usage(error: TyperException, *, as_json: bool) -> int:
    """Report what the parser of the command line refused; a bare `mesh` gets the help."""
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
        write_error(message)
        return error.exit_code
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mesh"
    _report(usage_error(message, f"`{command} --help` shows how"), as_json=as_json)
    return error.exit_code


def _bug(error: Exception) -> CliError:
    origin = traceback.extract_tb(error.__traceback__)[-1]
    return CliError(
        ExitStatus.BUG,
        "internal",
        f"unexpected {type(error).__name__}: {error} ({origin.name}, line {origin.lineno} of {origin.filename})",
        "this is an error of mesh itself: report it with this message",
    )


def _refused(error: OSError) -> CliError:
    about = f": {escaped_name(error.filename)}" if error.filename else ""
    return unavailable(
        f"this machine refuses: {error.strerror}{about}", "make room, or see what else holds its files and memory"
    )


def _report(error: CliError, *, as_json: bool) -> None:
    if as_json:
        content = {"error_type": error.error_type, "message": error.message, "hint": error.hint}
        text = terminal_json(json.dumps({"error": content}, ensure_ascii=False))
    else:
        text = f"Error: {error.message}" + (f"\nHint: {error.hint}" if error.hint else "")
    write_error(text)
