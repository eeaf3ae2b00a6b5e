"""Secrets from files: what containers mount below `/run/secrets` never stands in an environment that others can see."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsError

from shared.text.regular_file import read_regular_file

SUFFIX: Final = "_FILE"
"""`MESH_NAME_FILE` names the file with the value of `MESH_NAME`."""

_MAX_BYTES = 64 * 1024


def is_secret(field: FieldInfo) -> bool:
    """Whether a setting may come from a file."""
    return SecretStr in {field.annotation, *get_args(field.annotation)}


class SecretFiles(PydanticBaseSettingsSource):
    """The source of secret settings whose files are named, in the environment or in `.env`.

    One newline at the end of a file is not part of the secret. What an empty file holds is not set.

    Args:
        settings_cls: the class of settings.
        places: sources of variables, such as the environment and `.env`; the first that has one wins.
    """

    def __init__(self, settings_cls: type[BaseSettings], places: Iterable[PydanticBaseSettingsSource]) -> None:
        super().__init__(settings_cls)
        self._places = [each for each in places if isinstance(each, EnvSettingsSource)]
        self._prefix = settings_cls.model_config.get("env_prefix", "")

    def __call__(self) -> dict[str, Any]:
        """The secrets by the names of their fields.

        Raises:
            SettingsError: a file cannot be read, or the secret is given directly as well.
        """
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            secret, _, _ = self.get_field_value(field, name)
            if secret:
                found[name] = secret
        return found

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The secret of one field; nothing without a file."""
        variable = f"{self._prefix}{field_name}".upper()
        path = self._variable(f"{variable}{SUFFIX}") if is_secret(field) else ""
        if not path:
            return None, field_name, False
        if self._variable(variable):
            raise SettingsError(f"{variable} and {variable}{SUFFIX} are both set: unset one of them")
        return secret_of_file(f"{variable}{SUFFIX}", Path(path)), field_name, False

    def _variable(self, name: str) -> str:
        return next((each.env_vars[name.lower()] for each in self._places if name.lower() in each.env_vars), "") or ""


def secret_of_file(variable: str, path: Path) -> str:
    """What a file holds, without one newline at its end; `variable` names it.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        text = read_regular_file(path, _MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise SettingsError(f"{variable}: {path} is not UTF-8") from error
    except OSError as error:
        raise SettingsError(f"{variable}: {path} cannot be read: {error.strerror}") from error
    return text.removesuffix("\n").removesuffix("\r")
