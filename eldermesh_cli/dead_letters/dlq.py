"""`mesh dlq ls|show`: what was refused, why, and as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eldermesh.contract.vocabulary import DeadLetterType
from eldermesh_cli.program.errors import ExitStatus, not_found
from eldermesh_cli.program.options import EXAMPLE_JOB, JsonOption, checked_job_id, example
from eldermesh_cli.program.target_mesh import find_mesh
from eldermesh_cli.program.verb_run import answer_from_mesh, run_on_mesh
from eldermesh_cli.terminal.output import Output, columns_table

if TYPE_CHECKING:
    from eldermesh_cli.answers.jobs import DeadLetterList

app = typer.Typer(
    name="dlq",
    no_args_is_help=True,
    help="Look at dead letters: records that the mesh could not read or take, each kept with the reason.",
)


@app.command("ls", epilog=example("mesh dlq ls", "mesh dlq ls --error-type invalid --limit 100 --json"))
def ls(
    *,
    error_type: Annotated[DeadLetterType | None, typer.Option(help="Refused for this.")] = None,
    topic: Annotated[
        str | None, typer.Option(metavar="NAME", help="Came from this topic (without the environment's prefix).")
    ] = None,
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Of this job.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most dead letters to show.")] = 20,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where an earlier list ended: its `next_cursor`.")
    ] = None,
    as_json: JsonOption = False,
) -> ExitStatus:
    """List dead letters, newest first."""
    from eldermesh_cli.dead_letters.page import LetterQuery, list_letters, read_cursor

    query = LetterQuery(
        error_type=error_type,
        topic=topic,
        job_id=None if job is None else checked_job_id(job),
        limit=limit,
        before=None if cursor is None else read_cursor(cursor),
    )
    answer_from_mesh(lambda mesh: list_letters(mesh.settings, query), _show_list, as_json=as_json)
    return ExitStatus.OK


def _show_list(output: Output, answer: DeadLetterList) -> None:
    rows = [
        (letter.position, letter.recorded_at, letter.error_type, letter.key, letter.reason) for letter in answer.records
    ]
    output.show(columns_table(("LETTER", "AT", "ERROR", "KEY", "REASON"), rows))
    if answer.next_cursor is not None:
        output.note(f"more: --cursor {answer.next_cursor}")


@app.command("show", epilog=example("mesh dlq show 2/17", f"mesh dlq show {EXAMPLE_JOB} --raw > original.json"))
def show(
    letter: Annotated[
        str,
        typer.Argument(metavar="LETTER", help="As `mesh dlq ls` names it (partition/offset), or a job id: its latest."),
    ],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Print the original bytes and nothing else.")] = False,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Show one dead letter: its headers and the original bytes."""
    from eldermesh_cli.dead_letters.page import find_letter, letter_answer, read_position

    position = read_position(letter) if "/" in letter else None
    job_id = checked_job_id(letter) if position is None else None
    mesh = find_mesh()
    output = Output(as_json)
    found = run_on_mesh(mesh, lambda: find_letter(mesh.settings, position=position, job_id=job_id))
    if found is None:
        raise not_found(f"there is no dead letter {letter}", "`mesh dlq ls` lists what is there")
    if as_json:
        from eldermesh_cli.answers.jobs import DeadLetterList

        output.answer(DeadLetterList(records=[letter_answer(found, with_original=True)], next_cursor=None))
    elif raw:
        output.write_bytes(found.value)
    else:
        for name, value in found.headers:
            output.write(f"{name}: {value.decode('utf-8', 'backslashreplace')}\n")
        output.write("\n")
        output.write_bytes(found.value + b"\n")
    return ExitStatus.OK
