"""`mesh config`: the settings in force."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from eldermesh_cli.program.errors import CliError, ExitStatus
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.program.target_mesh import Mesh, find_mesh
from eldermesh_cli.terminal.output import Output

if TYPE_CHECKING:
    from pydantic import JsonValue

_FOUND = {
    "environment": "the broker is the one of MESH_KAFKA_BOOTSTRAP",
    "runtime": "the addresses are those of the mesh that runs on the data directory; all else is what this shell says, "
    "and that mesh has what the shell said in which it was started",
    "defaults": "no mesh runs on the data directory, and MESH_KAFKA_BOOTSTRAP is not set: these are the defaults",
}
_HIDDEN = "***"

app = typer.Typer()


@app.command(epilog=example("mesh config", "mesh config --json | jq .kafka_bootstrap"))
def config(*, as_json: JsonOption = False) -> ExitStatus:
    """Print the settings in force for this shell, secrets hidden.

    Of a mesh that runs here only the addresses are known; its other settings are those it was started with.
    """
    mesh = find_mesh()
    output = Output(as_json)
    shown = _shown(mesh)
    if as_json:
        output.json(shown)
        return ExitStatus.OK
    for name, value in shown.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else value
        output.write(f"MESH_{name.upper()}={'' if text is None else text}\n")
    output.note(_FOUND[mesh.found_by])
    return ExitStatus.OK


def _shown(mesh: Mesh) -> dict[str, JsonValue]:
    from shared.errors import ConfigurationError

    shown: dict[str, JsonValue] = mesh.settings.model_dump(mode="json")
    shown["redis_url"] = without_password(mesh.settings.redis_url.get_secret_value())
    addresses = ("anthropic_base_url", "blob_url", "otlp_endpoint", "otlp_metrics_endpoint")
    for name in (*addresses, "trace_query_url", "trace_ui_url"):
        value = shown[name]
        shown[name] = without_password(value) if isinstance(value, str) else None
    shown["partitions"] = mesh.settings.partition_count
    try:
        shown["blob_url"] = without_password(mesh.settings.blobs)
    except ConfigurationError as error:
        hint = "work in another directory"
        raise CliError(ExitStatus.USAGE, "configuration", f"the settings are wrong: {error}", hint) from error
    return shown


def without_password(url: str) -> str:
    """A URL with its password and its query hidden; the other parts are what one looks for."""
    parts = urlsplit(url)
    netloc = parts.netloc
    if parts.password is not None:
        netloc = f"{parts.username or ''}:{_HIDDEN}@{netloc.rpartition('@')[2]}"
    # By hand: urlunsplit drops the slashes of schemes that it does not know.
    start, _, _ = url.partition("://")
    query = f"?{_HIDDEN}" if parts.query else ""
    return f"{start}://{netloc}{parts.path}{query}" if "://" in url else url
