"""`mesh notes add|ls|rm`: what people want to be remembered before jobs like these run."""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from eldermesh_cli.program.errors import ExitStatus, not_found, usage_error
from eldermesh_cli.program.options import EXAMPLE_JOB, JsonOption, example
from eldermesh_cli.program.target_mesh import find_mesh
from eldermesh_cli.program.verb_run import answer_from_mesh, run_on_mesh
from eldermesh_cli.submit.text_input import STDIN, read_given_text
from eldermesh_cli.terminal.output import Output, columns_table
from eldermesh_cli.terminal.safe_text import escaped_name, shortened

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import NoteAnswer, NoteList

_MAX_INPUT_BYTES = 64 * 1024
"""Far above what a note may have; its characters are counted then."""

app = typer.Typer(name="notes", no_args_is_help=True, help="Keep notes that the sage knowledge passes on.")


@app.command(
    "add",
    epilog=example(
        "mesh notes add 'Migrations of the billing database need a backup first' --workload claude",
        "mesh notes add - < note.txt",
    ),
)
def add(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note; `-` reads it from standard input.")],
    *,
    workload: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only for jobs of this workload; default: all.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="TENANT", help="Only for jobs of this tenant; default: all.")
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who says so; default: the user's name.")] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Add a note. Jobs that speak of the same have it among their lessons.

    A text that holds what looks like a secret is refused: everybody who may see a job may see its lessons.
    """
    from eldermesh_cli.teach.note_topic import add_note

    content = _checked_text(read_given_text(STDIN, _MAX_INPUT_BYTES) if text == STDIN else text)
    answer_from_mesh(
        lambda mesh: add_note(mesh.settings, content, workload=workload, tenant=tenant, by=by or _user()),
        lambda output, answer: output.write(f"{answer.note_id}\n"),
        as_json=as_json,
    )
    return ExitStatus.OK


@app.command("ls", epilog=example("mesh notes ls", "mesh notes ls --json"))
def ls(*, as_json: JsonOption = False) -> ExitStatus:
    """List all notes, newest first. Long names are cut; --json has them whole."""
    from eldermesh_cli.teach.note_topic import list_notes

    answer_from_mesh(lambda mesh: list_notes(mesh.settings), _show_list, as_json=as_json)
    return ExitStatus.OK


def _show_list(output: Output, answer: NoteList) -> None:
    output.show(columns_table(("NOTE", "AT", "BY", "WORKLOAD", "TENANT", "TEXT"), map(_cells, answer.notes)))


def _cells(note: NoteAnswer) -> Iterable[str | None]:
    """Whoever may write to the topic may write names of any length."""
    whose = (note.by, note.workload, note.tenant)
    return (shortened(note.note_id), note.added_at, *(name and shortened(name) for name in whose), note.text)


@app.command("rm", epilog=example(f"mesh notes rm {EXAMPLE_JOB}"))
def rm(
    note: Annotated[str, typer.Argument(metavar="NOTE", help="As `mesh notes ls` names it.")],
    *,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Remove a note."""
    from eldermesh_cli.answers.jobs import NoteRemoved
    from eldermesh_cli.teach.note_topic import remove_note

    note_id = note.strip().lower()
    mesh = find_mesh()
    output = Output(as_json)
    if not run_on_mesh(mesh, lambda: remove_note(mesh.settings, note_id)):
        raise not_found(f"there is no note {note}", "`mesh notes ls` lists them")
    if as_json:
        output.answer(NoteRemoved(note_id=note_id))
    return ExitStatus.OK


def _checked_text(text: str) -> str:
    from shared.documents import MAX_NOTE_CHARACTERS
    from shared.text.secret_masks import masked

    text = text.strip()
    if not text:
        raise usage_error("the note is empty", "nothing was sent")
    if len(text) > MAX_NOTE_CHARACTERS:
        raise usage_error(f"the note has {len(text)} characters", f"at most {MAX_NOTE_CHARACTERS}; nothing was sent")
    if masked(text) != text:
        raise usage_error("the note holds what looks like a secret", "nothing was sent; leave it out")
    return text


def _user() -> str | None:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # no name for the user's number, as in some containers
        return None
    return escaped_name(name)
