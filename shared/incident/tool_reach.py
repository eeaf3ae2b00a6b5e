"""What the tools of a `claude` job could do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from pydantic import JsonValue

WRITING_TOOLS: Final = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})
SENDING_TOOLS: Final = frozenset({"WebFetch", "WebSearch"})

INTERPRETERS: Final = frozenset(
    [
        "sh",
        "bash",
        "zsh",
        "dash",
        "fish",
        "env",
        "xargs",
        "eval",
        "exec",
        "sudo",
        "su",
        "doas",
        "nohup",
        "timeout",
        "ssh",
        "python",
        "python3",
        "perl",
        "ruby",
        "node",
        "deno",
        "find",
        "awk",
        "make",
        "docker",
        "npx",
        "uv",
    ]
)
"""Programs that start any other one."""

_EVERYTHING = frozenset({"", "*", ":*", "**"})


@dataclass(frozen=True, slots=True)
class ToolReach:
    """The tools that a job offers to the model: only those that `allowed_tools` names.

    Attributes:
        tools: their names.
        shell: the rules' words inside `Bash(…)`; an empty text for a bare `Bash`.
        mode: the permission mode.
    """

    tools: frozenset[str]
    shell: tuple[str, ...]
    mode: str

    @classmethod
    def of(cls, options: Mapping[str, JsonValue]) -> Self:
        """Read the options; what is malformed offers nothing."""
        given = options.get("allowed_tools")
        rules = [rule for rule in given if isinstance(rule, str)] if isinstance(given, list | tuple) else []
        tools, shell = set(), []
        for rule in rules:
            name, _, uses = rule.partition("(")
            tools.add(name)
            if name == "Bash":
                shell.append(uses.removesuffix(")").strip())
        mode = options.get("permission_mode")
        return cls(frozenset(tools), tuple(shell), mode if isinstance(mode, str) else "default")

    @property
    def has_any_shell(self) -> bool:
        """Whether some rule allows every command."""
        return any(uses in _EVERYTHING for uses in self.shell) or "*" in self.tools

    @property
    def has_interpreter(self) -> bool:
        """Whether some rule allows a program that starts others."""
        return any(_program(uses) in INTERPRETERS for uses in self.shell)

    @property
    def can_act(self) -> bool:
        """Whether a tool changes something, or sends something away."""
        return bool(self.shell or "*" in self.tools or self.tools & (WRITING_TOOLS | SENDING_TOOLS))

    @property
    def can_write(self) -> bool:
        """Whether a tool changes files."""
        return self.has_any_shell or self.has_interpreter or bool(self.tools & WRITING_TOOLS)

    def can_run(self, programs: frozenset[str]) -> bool:
        """Whether the shell may start one of these programs."""
        if self.has_any_shell or self.has_interpreter:
            return True
        return any(_program(uses) in programs for uses in self.shell)


def _program(uses: str) -> str:
    """The first word of a rule such as `git push:*`, without its directory."""
    first = uses.partition(" ")[0].partition(":")[0]
    return first.rpartition("/")[2]
