"""The command line of one CLI run. The prompt is not on it: it goes through standard input."""

from __future__ import annotations

from pathlib import Path

import claude_agent_sdk
import orjson

from services.claude_exec.cli.run_directory import RunDirectory
from services.claude_exec.options import ClaudeOptions
from services.claude_exec.output_schema.judge import for_cli

BUNDLED_CLI = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
"""The CLI that the package brings."""

_LEAST_USD = 0.000_001


def cli_command(options: ClaudeOptions, place: RunDirectory, *, cli: str | None = None) -> list[str]:
    """The command line for these options; a system prompt becomes a file of the run's directory.

    No settings files are read, neither a user's nor a project's: their hooks would be commands that nobody allowed.
    """
    command = [
        cli or str(BUNDLED_CLI),
        *("--print", "--verbose"),
        *("--input-format", "stream-json", "--output-format", "stream-json"),
        "--include-partial-messages",  # what the idle watchdog listens to
        "--no-session-persistence",
        "--strict-mcp-config",
        "--setting-sources=",
        "--disable-slash-commands",
        *("--permission-mode", options.permission_mode),
        *("--tools", ",".join(options.offered_tools)),
    ]
    if options.allowed_tools:
        command += ["--allowedTools", ",".join(options.allowed_tools)]
    if options.disallowed_tools:
        command += ["--disallowedTools", ",".join(options.disallowed_tools)]
    if options.model is not None:
        command += ["--model", options.model]
    if options.max_turns is not None:
        command += ["--max-turns", str(options.max_turns)]
    if options.max_cost_usd is not None:
        # The CLI refuses a budget of nothing, which a smaller one would become here.
        command += ["--max-budget-usd", f"{max(options.max_cost_usd, _LEAST_USD):.6f}"]
    if options.system_prompt is not None:
        path = place.config / "system-prompt"
        path.write_text(options.system_prompt, encoding="utf-8")
        command += ["--system-prompt-file", str(path)]
    if options.output_schema is not None:
        command += ["--json-schema", orjson.dumps(for_cli(options.output_schema)).decode()]
    return command
