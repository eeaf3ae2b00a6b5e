"""`mesh env`: what a client has to know of the mesh, as environment variables."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import typer

from eldermesh_cli.operate.mesh.place import START_HINT, DataDirOption, data_dir_of
from eldermesh_cli.program.errors import ExitStatus, unavailable
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.program.target_mesh import MESH_SETTINGS, Mesh, find_mesh, load_settings
from eldermesh_cli.stack.errors import RuntimeFileDamagedError
from eldermesh_cli.stack.runtime_file import Runtime, live_runtime
from eldermesh_cli.terminal.output import Output

app = typer.Typer()


@app.command(
    epilog=example("mesh env", 'set -a; eval "$(mesh env)"; set +a', "mesh env --json | jq -r .MESH_KAFKA_BOOTSTRAP")
)
def env(*, data_dir: DataDirOption = None, as_json: JsonOption = False) -> ExitStatus:
    """Print the settings with which any client reaches the mesh, one NAME=value a line (with its passwords)."""
    output = Output(as_json)
    place = data_dir_of(data_dir)
    try:
        runtime = live_runtime(place)
    except RuntimeFileDamagedError as error:
        raise unavailable(str(error), "`mesh up` writes it anew") from error
    external = data_dir is None and "kafka_bootstrap" in load_settings().model_fields_set
    if external:
        values = _of_settings(find_mesh())
    elif runtime is not None:
        values = _of_runtime(runtime) | {"MESH_DATA_DIR": str(place)}
    else:
        raise unavailable(f"no mesh runs on {place}", START_HINT)
    if as_json:
        output.json(values)
    else:
        output.write("".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
    return ExitStatus.OK


def _of_runtime(runtime: Runtime) -> dict[str, str]:
    values = {f"MESH_{name.upper()}": str(getattr(runtime, name) or "") for name in MESH_SETTINGS}
    return _given(values, ray_on_demand=runtime.ray_address is not None)


def _of_settings(mesh: Mesh) -> dict[str, str]:
    """The settings in force, where they and not a mesh on this machine say which mesh is meant."""
    from shared.settings import UNSECURED

    settings = mesh.settings
    environment = settings.environment()
    login = [name for name, value in UNSECURED.items() if getattr(settings, name) != value]
    values = {(variable := f"MESH_{name.upper()}"): environment.get(variable, "") for name in (*MESH_SETTINGS, *login)}
    return _given(values, ray_on_demand=mesh.settings.ray_on_demand)


def _given(values: Mapping[str, str], *, ray_on_demand: bool) -> dict[str, str]:
    given = {variable: value for variable, value in values.items() if value}
    return given | ({"MESH_RAY_ON_DEMAND": "true"} if ray_on_demand else {})
