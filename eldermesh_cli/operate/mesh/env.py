"""`mesh env`: what a client has to know of the mesh, as environment variables."""

from __future__ import annotations

import shlex

import typer

from eldermesh_cli.operate.mesh.place import START_HINT, DataDirOption, data_dir_of
from eldermesh_cli.program.errors import ExitStatus, unavailable
from eldermesh_cli.program.options import JsonOption, example
from eldermesh_cli.program.target_mesh import Mesh, find_mesh, load_settings
from eldermesh_cli.stack.errors import RuntimeFileDamagedError
from eldermesh_cli.stack.runtime_file import Runtime, live_runtime
from eldermesh_cli.terminal.output import Output

app = typer.Typer()


@app.command(
    epilog=example("mesh env", 'set -a; eval "$(mesh env)"; set +a', "mesh env --json | jq -r .MESH_KAFKA_BOOTSTRAP")
)
def env(*, data_dir: DataDirOption = None, as_json: JsonOption = False) -> ExitStatus:
    """Print the settings with which any client reaches the mesh, one NAME=value a line (with its Redis password)."""
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
    values = {
        "MESH_KAFKA_BOOTSTRAP": runtime.kafka_bootstrap,
        "MESH_BROKER_PROFILE": runtime.broker_profile,
        "MESH_REDIS_URL": runtime.redis_url,
        "MESH_TOPIC_PREFIX": runtime.topic_prefix or None,
        "MESH_PARTITIONS": None if runtime.partitions is None else str(runtime.partitions),
        "MESH_BLOB_URL": runtime.blob_url,
        "MESH_OTLP_ENDPOINT": runtime.otlp_endpoint,
        "MESH_TRACE_QUERY_URL": runtime.trace_query_url,
        "MESH_RAY_ADDRESS": runtime.ray_address,
        "MESH_RAY_ON_DEMAND": None if runtime.ray_address is None else "true",
    }
    return {name: value for name, value in values.items() if value is not None}


def _of_settings(mesh: Mesh) -> dict[str, str]:
    """The settings in force, where they and not a mesh on this machine say which mesh is meant."""
    names = ("KAFKA_BOOTSTRAP", "BROKER_PROFILE", "REDIS_URL", "TOPIC_PREFIX", "PARTITIONS", "BLOB_URL")
    others = ("OTLP_ENDPOINT", "TRACE_QUERY_URL", "RAY_ADDRESS")
    values = mesh.settings.environment()
    wanted = [f"MESH_{name}" for name in (*names, *others)]
    found = {name: values[name] for name in wanted if values.get(name)}
    return found | ({"MESH_RAY_ON_DEMAND": "true"} if mesh.settings.ray_on_demand else {})
