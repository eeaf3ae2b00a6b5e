"""Write the table of docs/reference/configuration.md from the settings class; with --check only compare.

Usage: settings_table.py [--check] [DOCUMENT]
"""

import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pydantic import SecretStr  # noqa: E402 - it is run by path, so the project has to be found first
from pydantic.fields import FieldInfo  # noqa: E402 - the same

from shared.ray_resources import RayDemands  # noqa: E402 - the same
from shared.settings import Settings  # noqa: E402 - the same

BEGIN, END = "<!-- table: settings -->\n", "<!-- end -->"

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
    Path: "directory",
    RayDemands: "JSON object",
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
        value = ",".join(value)
    if isinstance(value, float):
        value = f"{value:.15g}"
    return "" if value is None else "empty" if value == "" else f"`{value}`"


def settings_table() -> str:
    """The table: a line for each field of `Settings`, in its order."""
    rows = [
        (f"`MESH_{name.upper()}`", _kind(field.annotation), _default(name, field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    head = ("variable", "value", "default", "meaning")
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))


def with_table(document: str) -> str:
    """The document with the table between its two marks written anew."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit("the document has no place for the table of settings")
    return f"{before}{begin}{settings_table()}{end}{after}"


def main(arguments: list[str]) -> int:
    """Write the document; with --check compare it, exit status 1 if it differs."""
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    path = paths[0] if paths else ROOT / "docs" / "reference" / "configuration.md"
    old = path.read_text("utf-8")
    new = with_table(old)
    if "--check" not in arguments:
        path.write_text(new, "utf-8")
        return 0
    if old != new:
        print(f"{path} is not what the settings say: run scripts/settings_table.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
