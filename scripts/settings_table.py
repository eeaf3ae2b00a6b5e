"""Write the table of docs/reference/configuration.md from the settings class; with --check only compare.

Usage: settings_table.py [--check] [DOCUMENT]
"""

import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run by path: the project has to be found first

from document_tables import DOCS, table, update
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from shared.ray_resources import RayDemands
from shared.route_rules import RouteRules
from shared.settings import Settings
from shared.tenant_weights import TenantWeights

_OF_THE_MACHINE = {
    "data_dir": "`eldermesh` in the user's state directory",
    "slots": "the number of CPUs, at least 2",
}
"""Defaults that each machine has its own of."""

_WORDS: dict[Any, str] = {
    bool: "`true` or `false`",
    int: "integer",
    float: "number",
    str: "text",
    SecretStr: "text, secret",
    Path: "path",
    RayDemands: "JSON object",
    RouteRules: "JSON object",
    TenantWeights: "JSON object",
}


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin in {Union, UnionType}:
        return " or ".join(_kind(each) for each in arguments if each is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return "list, comma separated"
    return _WORDS[annotation]


def _default(name: str, field: FieldInfo) -> str:
    if name in _OF_THE_MACHINE:
        return _OF_THE_MACHINE[name]
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    if isinstance(value, float):
        value = f"{value:.15g}"
    return "" if value is None else "empty" if value == "" else f"`{value}`"


def settings_table() -> str:
    """The table: a line for each field of `Settings`, in its order."""
    rows = [
        (f"`MESH_{name.upper()}`", _kind(field.annotation), _default(name, field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return table(("variable", "value", "default", "meaning"), rows)


if __name__ == "__main__":
    sys.exit(update(sys.argv[1:], DOCS / "reference" / "configuration.md", {"settings": settings_table}))
