"""`mesh schema NAME`: JSON Schemas of public events and of the answers of this program."""

from __future__ import annotations

from typing import Annotated

import typer

from eldermesh_cli.program.errors import ExitStatus, not_found
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.terminal.output import Output

app = typer.Typer()


def _names(incomplete: str) -> list[str]:
    """Names for the shell to complete."""
    from eldermesh_cli.answers.schemas import schema_names

    return [name for name in schema_names() if name.startswith(incomplete)]


@app.command(
    epilog=example("mesh schema", "mesh schema job-submit > job-submit.schema.json", "mesh schema mesh-status")
)
def schema(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which one; without it the names.", autocompletion=_names)
    ] = None,
    *,
    as_json: JsonOption = False,
) -> ExitStatus:
    """Print a JSON Schema: of a public event (job-submit, …), or of what a verb answers (mesh-status, …)."""
    import json

    from eldermesh_cli.answers.schemas import named_schema, schema_names

    output = Output(as_json)
    if name is None:
        if as_json:
            output.json({"names": schema_names()})
        else:
            output.write("\n".join(schema_names()) + "\n")
        return ExitStatus.OK
    try:
        document = named_schema(name)
    except KeyError as error:
        raise not_found(f"there is no schema {name}", "`mesh schema` lists the names") from error
    if as_json:
        output.json(document)
    else:
        output.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return ExitStatus.OK
