"""Tools that are offered without limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from pydantic import JsonValue

from shared.incident.secret_rules import Finding
from shared.incident.tool_reach import ToolReach

_WIDE: Final = frozenset(
    {"/", "/home", "/root", "/etc", "/usr", "/var", "/opt", "/srv", "/Users", "/boot", "/mnt", "/data"}
)
_HOME_DEPTH = 3


def find_scope(options: Mapping[str, JsonValue], reach: ToolReach) -> Iterator[Finding]:
    """The rules that fire on a job's options."""
    bypasses = reach.mode == "bypassPermissions"
    if reach.has_any_shell and bypasses:
        yield "scope.unchecked-shell", "high", "Every shell command is allowed, and no permission is asked for."
    elif reach.has_any_shell:
        yield "scope.any-shell", "medium", "Every shell command is allowed."
    elif bypasses:
        yield "scope.bypass", "medium", "No permission is asked for."
    if reach.has_interpreter:
        yield "scope.interpreter", "medium", "The shell may start a program that starts any other."
    if "*" in reach.tools:
        yield "scope.any-tool", "high", "Every tool is allowed."
    cwd = options.get("cwd")
    if isinstance(cwd, str) and _is_wide(cwd) and reach.can_write:
        yield "scope.wide-directory", "high", "Tools that write work in a directory that holds more than one project."
    if reach.has_any_shell and "WebFetch" in reach.tools:
        yield "scope.shell-and-web", "medium", "What is read on the web meets a shell without limits."


def _is_wide(cwd: str) -> bool:
    path = PurePosixPath(cwd)
    if str(path) in _WIDE or cwd in ("~", "$HOME"):
        return True
    return path.parts[:2] in (("/", "home"), ("/", "Users")) and len(path.parts) <= _HOME_DEPTH
