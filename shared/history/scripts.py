"""The Lua scripts, by name."""

from __future__ import annotations

from importlib.resources import files


def lua_script(name: str) -> str:
    """Source of `lua/{name}.lua`."""
    return files("shared.history").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
