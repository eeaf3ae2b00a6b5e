"""`mesh index PATH`: let the sage rag read text files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eldermesh_cli.program.errors import ExitStatus, not_found, usage_error
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.program.target_mesh import find_mesh
from eldermesh_cli.program.verb_run import run_on_mesh
from eldermesh_cli.terminal.output import Output, pairs_table
from eldermesh_cli.terminal.safe_text import escaped_name

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import LeftOutAnswer

_NAMED = 5
"""Skipped files that are named for each reason."""

app = typer.Typer()


@app.command(
    epilog=example(
        "mesh index docs",
        "mesh index . --glob '*.md' --glob '*.py' --name handbook --json",
        "mesh index docs --remove",
    )
)
def index(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A directory, with all below it, or a file.")],
    *,
    glob: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only files like this, of any kind; `*` stands for directories, too."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the files belong to; default: the path. The same on each machine."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="TENANT", help="Only jobs of this tenant see them; default: all do.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove what was indexed; the files are not read.")] = False,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Cut text files into passages, which the sage rag quotes to jobs that speak of the same.

    Only what is new or different is sent; what is gone from PATH since the last time is removed. Binary files, those
    above 512 KiB, hidden ones and links are left out; what looks like a secret is hidden. Exits with 1 if something
    could not be read; what was indexed of it stays.
    """
    from eldermesh_cli.teach import document_index
    from eldermesh_cli.teach.text_files import Skipped
    from eldermesh_cli.terminal.progress_bar import ItemsBar

    root = _resolved(path)
    if not remove and not _is_there(root):
        raise not_found(f"there is no {escaped_name(path)}", "--remove takes what was indexed of it away")
    mesh = find_mesh()
    output = Output(as_json)
    selection = document_index.Selection(root, name or escaped_name(root), tuple(glob or ()), tenant)
    skipped = Skipped()
    if remove:
        answer = run_on_mesh(mesh, lambda: document_index.remove(mesh.settings, selection))
    else:
        with ItemsBar(output, None, unit="files", done="files are read") as bar:
            answer = run_on_mesh(mesh, lambda: document_index.index(mesh.settings, selection, skipped, bar.move_to))
    status = ExitStatus.NOT_COMPLETED if answer.unreadable else ExitStatus.OK
    if as_json:
        output.answer(answer)
        return status
    for left_out in answer.skipped:
        output.note(f"skipped, {left_out.reason}: {_names(left_out)}")
    for left_out in answer.unreadable:
        output.note(f"could not be read, {left_out.reason}: {_names(left_out)}; what was indexed of it stays")
    output.show(
        pairs_table(
            (
                ("files", answer.files_total),
                ("changed", answer.files_changed),
                ("removed", answer.files_removed),
                ("passages", answer.passages_total),
                ("took", f"{answer.duration_seconds:.1f} s"),
            )
        )
    )
    return status


def _resolved(path: Path) -> Path:
    try:
        return path.absolute().resolve()
    except (OSError, RuntimeError) as error:  # the working directory is gone; a circle of links
        raise usage_error(f"{escaped_name(path)} leads nowhere: {error}") from error


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # who reads it will say why
        pass
    return True


def _names(left_out: LeftOutAnswer) -> str:
    shown = left_out.names[:_NAMED]
    more = f" and {left_out.count - len(shown)} more" if left_out.count > len(shown) else ""
    return ", ".join(shown) + more
