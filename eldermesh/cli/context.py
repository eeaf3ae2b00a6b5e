"""Which mesh a verb speaks to: the environment's, else the one that runs on the data directory, else the default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eldermesh.cli.errors import CliError, ExitStatus, unavailable
from eldermesh.cli.terminal_text import escaped_name

if TYPE_CHECKING:
    from shared.settings import Settings

FoundBy = Literal["environment", "runtime", "defaults"]

_HINTS: dict[FoundBy, str] = {
    "environment": "check MESH_KAFKA_BOOTSTRAP and MESH_REDIS_URL; `mesh doctor` looks at each part",
    "runtime": "`mesh ps` shows the processes of this mesh, `mesh doctor` looks at each part",
    "defaults": "start a mesh with `mesh up --detach`, or say where one is by MESH_KAFKA_BOOTSTRAP and MESH_REDIS_URL",
}


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh to speak to: its settings, and how it was found."""

    settings: Settings
    found_by: FoundBy

    @property
    def hint(self) -> str:
        """What to do if it does not answer."""
        return _HINTS[self.found_by]

    def unavailable(self, reason: str) -> CliError:
        """The error that says it does not answer."""
        prefix = "no mesh is running: " if self.found_by == "defaults" else ""
        return CliError(ExitStatus.UNAVAILABLE, "unavailable", f"{prefix}{reason}", self.hint)


def unusable_data_dir(data_dir: Path, error: OSError) -> CliError:
    """The error that says that the data directory cannot be used."""
    return unavailable(
        f"the data directory {escaped_name(data_dir)} cannot be used: {error.strerror}",
        "choose another by MESH_DATA_DIR or --data-dir",
    )


def load_settings() -> Settings:
    """The settings of the environment and `.env` alone.

    Raises:
        CliError: one of them is wrong.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from shared.settings import Settings, check_env_file

    try:
        check_env_file()
        return Settings()
    except ValidationError as error:
        reasons = "; ".join(
            f"MESH_{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False)
        )
        raise CliError(
            ExitStatus.USAGE, "configuration", f"the settings are wrong: {reasons}", "docs/configuration.md lists them"
        ) from error
    except SettingsError as error:  # a value that has to be JSON and is none
        raise CliError(
            ExitStatus.USAGE, "configuration", f"the settings are wrong: {error}", "docs/configuration.md lists them"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CliError(
            ExitStatus.USAGE,
            "configuration",
            f".env in the working directory cannot be read: {why}",
            "mend it, or work in another directory",
        ) from error


def find_mesh() -> Mesh:
    """Find the mesh; whether it answers is not tried.

    Raises:
        CliError: a setting is wrong, or the runtime file is damaged.
    """
    settings = load_settings()
    if "kafka_bootstrap" in settings.model_fields_set:
        return Mesh(settings, "environment")
    from eldermesh.stack.errors import RuntimeFileDamagedError
    from eldermesh.stack.runtime import live_runtime

    try:
        runtime = live_runtime(settings.data_dir)
    except RuntimeFileDamagedError as error:
        raise CliError(ExitStatus.UNAVAILABLE, "damaged", str(error), "`mesh up` writes it anew") from error
    except OSError as error:
        raise unusable_data_dir(settings.data_dir, error) from error
    if runtime is None:
        return Mesh(settings, "defaults")
    found: dict[str, object] = {
        name: value
        for name, value in (
            ("kafka_bootstrap", runtime.kafka_bootstrap),
            ("redis_url", runtime.redis_url),
            ("topic_prefix", runtime.topic_prefix),
            ("broker_profile", runtime.broker_profile),
            ("partitions", runtime.partitions),
            ("blob_url", runtime.blob_url),
            # The mesh keeps what it receives, and passes it on to the endpoint of the settings.
            ("otlp_endpoint", runtime.otlp_endpoint),
            ("ray_address", runtime.ray_address),
            ("ray_on_demand", runtime.ray_address is not None),
            ("trace_query_url", settings.trace_query_url or runtime.trace_query_url),
        )
        if value is not None
    }
    # Made anew and not copied, so that these values are checked as well.
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return Mesh(type(settings)(**(given | found)), "runtime")
