"""Which mesh a verb speaks to: the environment's, else the one that runs on the data directory, else the default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eldermesh_cli.program.errors import CliError, ExitStatus, unavailable
from eldermesh_cli.terminal.safe_text import escaped_name

if TYPE_CHECKING:
    from shared.settings import Settings

FoundBy = Literal["environment", "runtime", "defaults"]

_HINTS: dict[FoundBy, str] = {
    "environment": "check MESH_KAFKA_BOOTSTRAP and MESH_REDIS_URL; `mesh doctor` looks at each part",
    "runtime": "`mesh ps` shows the processes of this mesh, `mesh doctor` looks at each part",
    "defaults": "start a mesh with `mesh up --detach`, or say where one is by MESH_KAFKA_BOOTSTRAP and MESH_REDIS_URL",
}

MESH_SETTINGS = (
    *("kafka_bootstrap", "broker_profile", "redis_url", "topic_prefix", "partitions", "blob_url"),
    *("otlp_endpoint", "trace_query_url", "ray_address"),
)
"""What a client has to know of a mesh: settings that the runtime file has under the same names."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh to speak to: its settings, and how it was found."""

    settings: Settings
    found_by: FoundBy

    @property
    def hint(self) -> str:
        """What to do if it does not answer."""
        return _HINTS[self.found_by]

    @property
    def is_kafka_alone(self) -> bool:
        """Whether the environment names a broker and no Redis: from this host only Kafka is reached."""
        return self.found_by == "environment" and "redis_url" not in self.settings.model_fields_set

    def unavailable(self, reason: str) -> CliError:
        """The error that says it does not answer."""
        prefix = "no mesh is running: " if self.found_by == "defaults" else ""
        return unavailable(f"{prefix}{reason}", self.hint)


def unusable_data_dir(data_dir: Path, error: OSError) -> CliError:
    """The error that says that the data directory cannot be used."""
    return unavailable(
        f"the data directory {escaped_name(data_dir)} cannot be used: {error.strerror}",
        "choose another by MESH_DATA_DIR or --data-dir",
    )


def load_settings(**given: object) -> Settings:
    """The settings of the environment and `.env` alone, and those that are `given` in place of theirs.

    Raises:
        CliError: one of them is wrong.
    """
    from shared.errors import ConfigurationError
    from shared.settings import Settings

    try:
        return Settings.of_environment(**given)
    except ConfigurationError as error:
        raise CliError(
            ExitStatus.USAGE,
            "configuration",
            str(error),
            "mend it, in the environment or in `.env`; docs/reference/configuration.md lists all settings",
        ) from error


def find_mesh() -> Mesh:
    """Find the mesh; whether it answers is not tried.

    Raises:
        CliError: a setting is wrong, or the runtime file is damaged.
    """
    settings = load_settings()
    if "kafka_bootstrap" in settings.model_fields_set:
        return Mesh(settings, "environment")
    from eldermesh_cli.stack.errors import RuntimeFileDamagedError
    from eldermesh_cli.stack.runtime_file import live_runtime
    from shared.settings import UNSECURED

    try:
        runtime = live_runtime(settings.data_dir)
    except RuntimeFileDamagedError as error:
        raise CliError(ExitStatus.UNAVAILABLE, "damaged", str(error), "`mesh up` writes it anew") from error
    except OSError as error:
        raise unusable_data_dir(settings.data_dir, error) from error
    if runtime is None:
        return Mesh(settings, "defaults")
    # `otlp_endpoint` is the mesh's own: it keeps what it receives, and passes it on to the endpoint of the settings.
    found: dict[str, object] = runtime.model_dump(include=set(MESH_SETTINGS), exclude_none=True)
    found["ray_on_demand"] = runtime.ray_address is not None
    if settings.trace_query_url:
        found["trace_query_url"] = settings.trace_query_url
    # Made anew and not copied, so that these values are checked as well.
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return Mesh(load_settings(**(given | found | UNSECURED)), "runtime")
