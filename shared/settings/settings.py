"""All settings in one class, read from `MESH_*` environment variables and an optional `.env`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from pydantic import SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from shared.errors import ConfigurationError
from shared.secret_files import SUFFIX, SecretFiles, is_secret
from shared.settings.claude import ClaudeSettings
from shared.settings.kafka import KafkaSettings, TopicSettings
from shared.settings.notifier import NotifierSettings
from shared.settings.ray import RaySettings
from shared.settings.redis import RedisSettings
from shared.settings.runs import RunSettings
from shared.settings.storage import StorageSettings
from shared.settings.telemetry import TelemetrySettings
from shared.settings.waits import WaitSettings
from shared.text.regular_file import read_regular_file

_ENV_FILE = ".env"
_MAX_ENV_BYTES = 1024 * 1024

UNSECURED: Final[dict[str, object]] = {
    "kafka_security": "plaintext",
    **dict.fromkeys(("kafka_ca", "kafka_certificate", "kafka_key"), None),
    **dict.fromkeys(("kafka_sasl_mechanism", "kafka_username", "kafka_password"), None),
    **dict.fromkeys(("redis_ca", "redis_certificate", "redis_key"), None),
}
"""What settings of a mesh on the loopback interface have, whatever the environment says of a secured one."""


class Settings(
    # The last come first among the fields, and so in the documentation.
    TelemetrySettings,
    RaySettings,
    ClaudeSettings,
    NotifierSettings,
    WaitSettings,
    RunSettings,
    StorageSettings,
    TopicSettings,
    RedisSettings,
    KafkaSettings,
    BaseSettings,
):
    """The settings in force. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(
        env_prefix="MESH_",
        env_file=_ENV_FILE,
        env_file_encoding="utf-8-sig",
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: object, info: ValidationInfo) -> object:
        """Compose files write `${MESH_PARTITIONS:-}` for what may be set."""
        is_optional = info.field_name is not None and cls.model_fields[info.field_name].default is None
        return None if is_optional and value == "" else value

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, but what was derived from the old values is derived anew."""
        copied = super().model_copy(update=update, deep=deep)
        for derived in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[derived]
        return copied

    @cached_property
    def partition_count(self) -> int:
        """Partitions of each topic, the profile's default applied."""
        if self.partitions is not None:
            return self.partitions
        return 4 if self.broker_profile == "embedded" else 12

    @cached_property
    def ray_runners(self) -> int:
        """Most runners of a workload on Ray, the default applied; what a workload's own demand says comes before it."""
        return self.ray_max_runners or self.slots

    @classmethod
    def of_environment(cls, **given: object) -> Self:
        """The settings of the environment and of `.env` in the working directory; those that are `given` come first.

        Raises:
            ConfigurationError: one is wrong, or `.env` is no regular file (a pipe would be waited for), or cannot be
                read.
        """
        try:
            _check_env_file()
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            reasons = "; ".join(map(_told, error.errors(include_input=False, include_url=False)))
            raise ConfigurationError(f"the settings are wrong: {reasons}") from error
        except SettingsError as error:  # a value that has to be JSON and is none
            raise ConfigurationError(f"the settings are wrong: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigurationError(f".env in the working directory cannot be read: {why}") from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's, which takes one directory
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Files of secrets come before variables: these may be there and empty."""
        variables = (env_settings, dotenv_settings)
        return init_settings, SecretFiles(settings_cls, variables), *variables

    def environment(self) -> dict[str, str]:
        """These settings as `MESH_*` variables, for a child process: one that is not set is empty.

        The child may inherit this process' own variables, or read the same `.env`, and these have to win.
        """
        values: dict[str, str] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if is_secret(field):
                values[f"MESH_{name.upper()}{SUFFIX}"] = ""
            if value is None:
                text = ""
            elif isinstance(value, SecretStr):
                text = value.get_secret_value()
            elif isinstance(value, tuple):
                text = ",".join(map(str, value))
            else:
                text = str(value)
            values[f"MESH_{name.upper()}"] = text
        return values


def _check_env_file() -> None:
    """See that the `.env` of the working directory, if there is one, can be read.

    Raises:
        FileRefusedError: it is no regular file, or larger than any list of settings.
        OSError: it cannot be read.
    """
    env_file = Path(_ENV_FILE)
    if env_file.exists() and not env_file.is_dir():  # a pipe would be waited for; a directory may be a virtualenv
        read_regular_file(env_file, _MAX_ENV_BYTES)


def _told(error: ErrorDetails) -> str:
    """`MESH_NAME: reason`; the reasons of what concerns several settings name them."""
    name = f"MESH_{'.'.join(map(str, error['loc'])).upper()}: " if error["loc"] else ""
    return f"{name}{error['msg'].removeprefix('Value error, ')}"
