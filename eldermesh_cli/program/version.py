"""`mesh version`: of the program, of the public contract, of the fold."""

from __future__ import annotations

import typer

from eldermesh_cli.program.errors import ExitStatus
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.terminal.output import Output, pairs_table

app = typer.Typer()


@app.command(epilog=example("mesh version", "mesh version --json"))
def version(*, as_json: JsonOption = False) -> ExitStatus:
    """Print the versions of the program, of the public contract, and of the fold of histories."""
    from importlib.metadata import version as installed_version

    from eldermesh.contract.vocabulary import CONTRACT_VERSION
    from eldermesh_cli.answers.jobs import VersionAnswer
    from shared.history.keys import FOLD_VERSION

    output = Output(as_json)
    answer = VersionAnswer(
        version=installed_version("eldermesh"), contract_version=CONTRACT_VERSION, fold_version=FOLD_VERSION
    )
    if as_json:
        output.answer(answer)
    else:
        pairs = [("eldermesh", answer.version), ("contract", answer.contract_version), ("fold", answer.fold_version)]
        output.show(pairs_table(pairs))
    return ExitStatus.OK
