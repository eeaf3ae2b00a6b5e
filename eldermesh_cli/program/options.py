"""Options and arguments that several verbs have."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from eldermesh_cli.program.errors import usage_error

EXAMPLE_JOB = "4f970e3e-d1a3-5d45-8587-591465c16100"
"""A job id for the examples of the help."""

MAX_WAIT_SECONDS = 366 * 24 * 3600
"""Longest wait that can be asked for."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and errors as JSON too.")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job id.")]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", min=0, max=MAX_WAIT_SECONDS, help="Longest wait for the end; default: a job's lifetime."
    ),
]


def checked_job_id(text: str) -> str:
    """A job id in the form that records carry.

    Raises:
        CliError: it is no UUID.
    """
    from eldermesh.contract.vocabulary import JOB_ID_PATTERN

    job_id = text.strip().lower()
    if not re.fullmatch(JOB_ID_PATTERN, job_id):
        raise usage_error(f"{text!r} is no job id", "job ids are UUIDs; `mesh list` shows them")
    return job_id


def example(*lines: str) -> str:
    """The epilog of a verb's help: commands that can be typed as they are."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"[cyan]$ {line}[/cyan]" for line in lines)])
